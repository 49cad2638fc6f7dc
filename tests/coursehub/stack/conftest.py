"""What the tests of the embedded run share."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from coursehub.stack import privileges, processes
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.watchdog import Watchdog

FAKE = "python -m tests.support.fake_part"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that others may enter; pytest's own are closed, and PostgreSQL then cannot run in them for root."""
    path = Path(tempfile.mkdtemp(prefix="coursehub-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def data(folder: Path) -> DataDirectory:
    return DataDirectory.open(folder / "data")


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    watchdog = Watchdog(grace_seconds=1)
    yield watchdog
    watchdog.close()


@pytest.fixture
def procfile(tmp_path: Path) -> Path:
    """All four parts, faked."""
    path = tmp_path / "Procfile"
    lines = [f"api: {FAKE} listen PORT", f"worker: {FAKE} idle", f"relay: {FAKE} idle"]
    path.write_text("\n".join([*lines, f"broadcast: {FAKE} listen WEBSOCKET_PORT"]))
    return path


def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something to become true; fail when it does not."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody has buried yet does not."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def as_ordinary_user(command: list[str]) -> list[str]:
    """
    The command as somebody who is not root, whoever runs the tests.

    Root's interpreter may be in root's home directory: then only the right to walk through it is left to them.
    """
    if os.geteuid() != 0:
        return command
    account = privileges.unprivileged_account()
    assert account
    walk = "+dac_read_search"
    rights = [] if privileges.can_enter(Path(sys.executable).resolve().parent, account) else [walk]
    capabilities = [option for right in rights for option in ("--inh-caps", right, "--ambient-caps", right)]
    return ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups", *capabilities, *command]


def marked(data: Path) -> list[int]:
    """Every process that a run on this data directory has started."""
    return [process.pid for process in psutil.process_iter() if _mark(process) == str(data)]


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(processes.MARK) if is_alive(process.pid) else None
    except psutil.Error:
        return None
