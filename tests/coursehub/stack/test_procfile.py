"""Reading the Procfile."""

import os
import subprocess
from pathlib import Path

import pytest

from coursehub.stack import errors, parts, procfile


def test_the_projects_own_has_every_part_and_the_release() -> None:
    assert {*parts.DEFAULT, "release"} <= procfile.read().keys()


def test_names_commands_comments_and_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "Procfile"
    path.write_text("# parts\nweb:  run --port $PORT \n\nclock: tick\n")
    assert procfile.read(path) == {"web": "run --port $PORT", "clock": "tick"}


def test_a_line_without_a_command_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "Procfile"
    path.write_text("web: run\nclock\n")
    with pytest.raises(errors.ProcfileInvalid, match="line 2"):
        procfile.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.ProcfileInvalid, match="nowhere"):
        procfile.read(tmp_path / "nowhere")


def test_a_command_gets_its_variables_and_replaces_the_shell() -> None:
    """Otherwise signals would end at the shell."""
    command = procfile.argv("sh -c 'echo $PPID ${WORD:-default}'")
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"WORD": "given"})
    assert done.stdout.split() == [str(os.getpid()), "given"]
