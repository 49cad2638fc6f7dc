"""``make``'s first step: the virtual environment, on machines of every kind."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from coursehub.stack import procfile

SCRIPT = procfile.PROJECT / "deploy" / "venv.py"


@pytest.fixture(scope="module")
def venv() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coursehub_venv", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python_without(tmp_path: Path, *modules: str) -> str:
    """A Python that lacks these, as a bare Debian's does."""
    tests = " ".join(f"*{module}*) exit 1;;" for module in modules)
    path = tmp_path / "python3"
    path.write_text(f'#!/bin/sh\ncase "$*" in {tests} esac\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_what_pip_is_told_uv_is_told_too(venv: ModuleType) -> None:
    configuration = [
        "global.index-url='https://mirror.example/simple'",
        ":env:.extra-index-url='https://a.example/simple https://b.example/simple'",
        "install.find-links='/wheels\\n/more'",
        "global.cert='/etc/ca.pem'",
        "global.timeout='60'",
    ]
    assert venv.uv_options(configuration) == (
        [
            *("--index-url", "https://mirror.example/simple"),
            *("--extra-index-url", "https://a.example/simple", "--extra-index-url", "https://b.example/simple"),
            *("--find-links", "/wheels", "--find-links", "/more"),
            *("--index-strategy", "unsafe-best-match"),
        ],
        {"SSL_CERT_FILE": "/etc/ca.pem"},
    )


def test_without_a_configuration_there_is_nothing_to_say(venv: ModuleType) -> None:
    assert venv.uv_options([]) == ([], {})


@pytest.mark.parametrize("line", ["global.proxy='http://p:1'", "global.trusted-host='m'", ":env:.no-index='1'"])
def test_what_only_pip_understands_is_left_to_pip(venv: ModuleType, line: str) -> None:
    assert venv.uv_options(["global.index-url='x'", line]) is None


def test_a_python_that_cannot_make_one_is_told_what_to_install(venv: ModuleType, tmp_path: Path) -> None:
    bare = python_without(tmp_path, "ensurepip", "virtualenv", "-m?pip")
    with pytest.raises(venv.SetupFailed, match=r"without ensurepip.*apt install python3\.\d+-venv.*PYTHON="):
        venv.Environment(tmp_path / "venv", bare).ensure()


def test_a_new_one_works_until_it_is_moved(venv: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # whatever it wants to install, it must not ask anybody
    made = venv.Environment(tmp_path / "with space" / "venv")
    made.folder.parent.mkdir()
    assert not made.works()
    made.ensure()
    assert made.works()
    (tmp_path / "none.txt").write_text("# nothing\n")
    made.install(tmp_path / "none.txt")
    assert (made.folder / ".none.installed").exists()
    moved = venv.Environment(made.folder.rename(tmp_path / "moved"))
    assert not moved.works()


def test_what_cannot_be_installed_is_named_and_tried_again(
    venv: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    environment = venv.Environment(Path(sys.prefix))
    (tmp_path / "more.txt").write_text("a-package-that-is-nowhere==1\n")
    with pytest.raises(venv.SetupFailed, match=r"more\.txt could not be installed"):
        environment.install(tmp_path / "more.txt")
    assert not (Path(sys.prefix) / ".more.installed").exists()


def make(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run make without ever touching this environment's packages."""
    return subprocess.run(
        ["make", *arguments], cwd=procfile.PROJECT, env=os.environ | env, capture_output=True, text=True, check=False
    )


def test_make_without_a_new_enough_python_says_so() -> None:
    done = make("venv", "PYTHON=")
    assert done.returncode != 0
    assert "CourseHub needs Python 3.11 or newer" in done.stderr


def test_make_help_lists_every_command() -> None:
    lines = (procfile.PROJECT / "Makefile").read_text().splitlines()
    phony = {name for line in lines if line.startswith(".PHONY:") for name in line.split()[1:]}
    listed = [line.split()[1] for line in make("help").stdout.splitlines() if line.startswith("  make ")]
    assert sorted(listed) == sorted(phony - {"python", "venv", "venv-dev"}), "those are only on the way to the others"
