"""What a killed run left behind: found by its mark or by the directory it works in, and ended before the next start."""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from coursehub.stack.processes import MARK


def working_in(directories: Iterable[Path]) -> list[psutil.Process]:
    """Processes whose working directory is one of these. PostgreSQL and Valkey go to their data and stay there."""
    wanted = {str(directory.resolve()) for directory in directories}
    return [process for process in _others() if _cwd(process) in wanted]


def marked(data: Path) -> list[psutil.Process]:
    """Processes that a run on this data directory started, and what they started in turn."""
    return [process for process in _others() if _mark(process) == str(data)]


def end(processes: list[psutil.Process], grace_seconds: float = 10.0) -> None:
    """End them: gently, then not. PostgreSQL takes SIGINT for a fast shutdown; for the others it is as good as any."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(processes, timeout=grace_seconds)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=grace_seconds)


def _others() -> Iterator[psutil.Process]:
    return (process for process in psutil.process_iter() if process.pid != os.getpid())


def _cwd(process: psutil.Process) -> str | None:
    with contextlib.suppress(psutil.Error, OSError):
        return process.cwd()
    return None


def _mark(process: psutil.Process) -> str | None:
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(MARK)
    return None
