"""How much memory each part has over time, and whether the one that was never killed stays where it was."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import psutil

from benchmarks import usage
from coursehub.stack.stack import Stack

SETTLED = 0.3
"""The share of the time after which a process has seen everything once."""
MOST_GROWTH, FREE_BYTES = 1.15, 6_000_000


@dataclass(frozen=True, slots=True)
class Look:
    """Memory of a part's processes (PSS) at a time, and the first process's id."""

    at: float
    pid: int
    memory_bytes: int


class Watch(threading.Thread):
    """Looks at all parts every ``pause`` seconds."""

    def __init__(self, stack: Stack, *, pause: float, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self._stack, self._pause, self._over = stack, pause, over
        self.looks: dict[str, list[Look]] = {name: [] for name in stack.runners}

    def run(self) -> None:
        while not self._over.wait(self._pause):
            for name in self.looks:
                self._look(name)

    def _look(self, name: str) -> None:
        try:
            pid = self._stack.child(name).pid
            used = usage.of_tree(pid)
        except (psutil.Error, OSError):
            return  # it is being killed just now
        self.looks[name].append(Look(time.monotonic(), pid, used.memory_bytes))


@dataclass(frozen=True, slots=True)
class Course:
    """Where a part's memory was when it had settled, where at the end, and the most it had."""

    settled_bytes: float
    last_bytes: float
    most_bytes: int

    @property
    def is_flat(self) -> bool:
        return self.last_bytes <= self.settled_bytes * MOST_GROWTH + FREE_BYTES


def course(looks: Sequence[Look], *, same_process: bool) -> Course | None:
    """Compare the time after it settled with the end; ``same_process``: of the last process alone."""
    if same_process and looks:
        looks = [look for look in looks if look.pid == looks[-1].pid]
    if len(looks) < 4:
        return None
    started, ended = looks[0].at, looks[-1].at
    settled = started + (ended - started) * SETTLED
    late = started + (ended - started) * 0.8
    middle = [look.memory_bytes for look in looks if settled <= look.at < late] or [looks[0].memory_bytes]
    last = [look.memory_bytes for look in looks if look.at >= late]
    return Course(median(middle), median(last), max(look.memory_bytes for look in looks))
