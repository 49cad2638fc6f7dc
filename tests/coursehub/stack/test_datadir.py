"""COURSEHUB_DATA: secrets, state, and one run at a time."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from coursehub.stack import datadir, errors, privileges
from coursehub.stack.datadir import DataDirectory
from tests.coursehub.stack.conftest import as_ordinary_user


def test_a_secret_is_made_once_and_kept_for_its_owner_only(data: DataDirectory) -> None:
    made = data.secret("SECRET_KEY")
    assert len(made) == 64
    assert DataDirectory.open(data.path).secret("SECRET_KEY") == made
    assert data.secret("TICKET_SECRET") != made
    assert (data.path / "secrets" / "SECRET_KEY").stat().st_mode & 0o777 == 0o600


def test_a_secret_whose_file_was_cut_off_is_made_anew(data: DataDirectory) -> None:
    (data.path / "secrets" / "SECRET_KEY").write_text("")
    assert len(data.secret("SECRET_KEY")) == 64


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_temporary_one_can_be_passed_through_by_whoever_postgresql_runs_as(in_memory: bool) -> None:
    data = DataDirectory.temporary(in_memory=in_memory)
    assert data.is_temporary
    assert privileges.can_enter(data.path, privileges.unprivileged_account())
    assert in_memory or not data.path.is_relative_to(datadir.SHARED_MEMORY)
    shutil.rmtree(data.path)


def test_secrets_and_logs_are_closed_to_others(data: DataDirectory) -> None:
    assert {(data.path / name).stat().st_mode & 0o777 for name in ("secrets", "logs")} == {0o700}


def test_a_second_run_is_refused_and_told_who_has_it(data: DataDirectory) -> None:
    data.lock()
    with pytest.raises(errors.AlreadyRunning, match=f"process {os.getpid()}.*COURSEHUB_DATA"):
        DataDirectory.open(data.path).lock()
    data.unlock()
    DataDirectory.open(data.path).lock()


def test_the_lock_does_not_outlive_its_process(data: DataDirectory) -> None:
    program = (
        "import sys, os, signal; from coursehub.stack.datadir import DataDirectory as D; D.open(sys.argv[1]).lock()"
    )
    killed = subprocess.run(
        [sys.executable, "-c", f"{program}; os.kill(os.getpid(), signal.SIGKILL)", data.path], check=False
    )
    assert killed.returncode == -9
    data.lock()


def test_state_is_read_only_while_its_run_lasts(data: DataDirectory) -> None:
    data.lock()
    data.write_state({"apiUrl": "http://127.0.0.1:1"})
    assert datadir.read_state(data.path) == {"apiUrl": "http://127.0.0.1:1"}
    assert (data.path / "stack.json").stat().st_mode & 0o777 == 0o600
    data.unlock()
    assert datadir.read_state(data.path) is None


def test_there_is_no_state_where_nothing_ever_ran_or_nothing_is_ready(data: DataDirectory) -> None:
    assert datadir.read_state(data.path) is None
    data.lock()
    assert datadir.read_state(data.path) is None


def test_a_file_in_its_place_is_refused(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(errors.DataDirectoryUnusable, match="COURSEHUB_DATA"):
        DataDirectory.open(folder / "file" / "data")


def test_a_directory_of_somebody_else_is_refused(folder: Path) -> None:
    """Root may write anywhere, so somebody else has to try."""
    closed = folder / "closed"
    closed.mkdir(mode=0o555)
    command = [sys.executable, "-m", "coursehub.stack", "services"]
    env = os.environ | {"COURSEHUB_DATA": str(closed / "data")}
    done = subprocess.run(as_ordinary_user(command), env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"Cannot keep data in {closed / 'data'}: Permission denied" in done.stderr
