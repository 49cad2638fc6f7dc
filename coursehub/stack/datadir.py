"""COURSEHUB_DATA: all state of the embedded run, for one run at a time."""

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
from pathlib import Path
from typing import IO, Any

from coursehub.stack import errors, privileges

STATE = "stack.json"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes ours alone
ROOMY_BYTES = 1024 * 1024 * 1024


class DataDirectory:
    """
    A directory that belongs to one run at a time.

    Others may pass through it when root owns it, because PostgreSQL then runs as someone else; what is in it is
    closed to them.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.is_temporary = path, False
        self._lock: IO[str] | None = None

    @classmethod
    def open(cls, path: str | Path) -> "DataDirectory":
        """
        Create the directory where it is missing, and see that it can be written to.

        Raises:
            DataDirectoryUnusable: it cannot.
        """
        data = cls(Path(path).expanduser().absolute())
        try:
            data.path.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
            data.path = data.path.resolve()
            for name in ("logs", "secrets"):
                (data.path / name).mkdir(exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=data.path):
                pass
        except OSError as error:
            raise errors.DataDirectoryUnusable(data.path, error.strerror or str(error)) from error
        return data

    @classmethod
    def temporary(cls, *, in_memory: bool = True) -> "DataDirectory":
        """
        Make a directory that goes with the run, in memory where there is room.

        Better than to open one from `tempfile.mkdtemp`: into that, started by root, PostgreSQL may not go.
        """
        base = SHARED_MEMORY if in_memory and privileges.has_room(SHARED_MEMORY, ROOMY_BYTES) else None
        path = tempfile.mkdtemp(prefix="coursehub-data-", dir=base)
        if os.geteuid() == 0:
            Path(path).chmod(0o711)
        data = cls.open(path)
        data.is_temporary = True
        return data

    def lock(self) -> None:
        """
        Keep every other run out until this process ends, however it ends.

        Raises:
            AlreadyRunning: another run has it.
        """
        lock = (self.path / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip()
            lock.close()
            raise errors.AlreadyRunning(self.path, owner or "just starting") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()
        self._lock = lock

    def unlock(self) -> None:
        """Let the next run in."""
        if self._lock:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def log(self, name: str) -> Path:
        """Where a service or part logs."""
        return self.path / "logs" / f"{name}.log"

    def secret(self, name: str, length: int = 64) -> str:
        """A secret that is made at the first call and stays the same from then on."""
        path = self.path / "secrets" / name
        with contextlib.suppress(FileNotFoundError):
            if kept := path.read_text().strip():
                return kept
        made = secrets.token_urlsafe(length)[:length]
        _write_private(path, made)
        return made

    def write_state(self, state: dict[str, Any]) -> None:
        """Tell other commands where everything runs."""
        _write_private(self.path / STATE, json.dumps(state, indent=2))

    def forget_state(self) -> None:
        """Nothing runs any more."""
        (self.path / STATE).unlink(missing_ok=True)


def read_state(path: Path) -> dict[str, Any] | None:
    """
    Where the stack with this data directory runs; None: it does not.

    Holds against a state file that a killed run left: only a running one holds the lock.
    """
    try:
        with (path / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        pass
    with contextlib.suppress(OSError, ValueError):
        state: dict[str, Any] = json.loads((path / STATE).read_text())
        return state
    return None


def _write_private(path: Path, text: str) -> None:
    """Replace a file at once, readable by nobody else at any moment."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)
