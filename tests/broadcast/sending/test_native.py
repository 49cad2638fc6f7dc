"""Compiling the send loop, and what is done where that cannot be."""

import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from broadcast.sending import build, native


def test_it_is_compiled_once_into_a_private_directory(tmp_path: Path):
    directory = tmp_path / "cache" / "coursehub"
    made = build.library(directory)
    stamp = made.stat().st_mtime_ns
    assert build.library(directory) == made
    assert made.stat().st_mtime_ns == stamp
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [path.name for path in directory.iterdir()] == [made.name]


def test_a_directory_that_others_can_write_is_not_trusted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    tmp_path.chmod(0o777)
    with pytest.raises(build.CannotBuild, match="others can write"):
        build.library(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert native.choose(native=True, directory=tmp_path).name == "python"
    assert "others can write" in caplog.records[0].problem


def test_a_library_that_others_can_write_is_not_trusted(tmp_path: Path):
    tmp_path.chmod(0o700)
    build.library(tmp_path).chmod(0o722)
    with pytest.raises(build.CannotBuild, match="others can write"):
        build.library(tmp_path)


def test_a_link_to_a_library_is_not_trusted(tmp_path: Path):
    tmp_path.chmod(0o700)
    made = build.library(tmp_path)
    made.rename(tmp_path / "elsewhere")
    made.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(build.CannotBuild):
        build.library(tmp_path)


def test_without_a_compiler_the_loop_is_pythons(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from broadcast.sending import native;"
        f"print(native.choose(native=True, directory=Path({str(tmp_path / 'c')!r})).name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PATH": str(tmp_path)}, cwd=Path.cwd(), capture_output=True, text=True
    )
    assert done.stdout == "python\n", done.stderr


def test_a_library_that_cannot_be_loaded_leaves_the_loop_to_python(tmp_path: Path):
    tmp_path.chmod(0o700)
    made = build.library(tmp_path)
    made.write_bytes(b"no library")
    assert native.choose(native=True, directory=tmp_path).name == "python"


def test_it_can_be_switched_off_and_then_nothing_is_compiled(tmp_path: Path):
    assert native.choose(native=False, directory=tmp_path / "c").name == "python"
    assert not (tmp_path / "c").exists()
    assert native.choose(native=True, directory=tmp_path / "c").name == "native"


def test_it_can_be_compiled_ahead(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "broadcast.sending.build", str(tmp_path / "c")],
        cwd=Path.cwd(),
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()) == build.library(tmp_path / "c")
