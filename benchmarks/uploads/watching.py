"""How much memory and CPU the API, the worker and storage take while something happens."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from coursehub.stack.stack import Stack

_EVERY_SECONDS = 0.2
PARTS = ("api", "worker", "relay")
INSPECTION = "inspection"
"""The process that looks into a file: a worker's child for as long as that takes."""


@dataclass(slots=True)
class Watched:
    """Memory in bytes (PSS: what processes share is counted once), CPU in seconds, by part."""

    idle: dict[str, int] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    def growth(self, part: str) -> int:
        """Tell by how much a part grew at most."""
        return self.peak.get(part, 0) - self.idle.get(part, 0)


@contextmanager
def watching(stack: Stack) -> Iterator[Watched]:
    """Watch during a block."""
    watched, over = Watched(idle=_memory(stack)), threading.Event()
    watched.peak |= watched.idle
    before = _cpu(stack)

    def watch() -> None:
        while not over.wait(_EVERY_SECONDS):
            for part, used in _memory(stack).items():
                watched.peak[part] = max(watched.peak.get(part, 0), used)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield watched
    finally:
        over.set()
        thread.join()
        watched.cpu |= {part: after - before.get(part, 0.0) for part, after in _cpu(stack).items()}


def _memory(stack: Stack) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in PARTS:
        for process in _tree(stack.child(part).pid):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                name = INSPECTION if "apps.uploads.inspection" in " ".join(process.cmdline()) else part
                found[name] = found.get(name, 0) + process.memory_full_info().pss
    return found


def _cpu(stack: Stack) -> dict[str, float]:
    found = {}
    for part in (*PARTS, "swift"):
        found[part] = 0.0
        for process in _tree(stack.child(part).pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                found[part] += times.user + times.system + times.children_user + times.children_system
    return found


def _tree(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []
