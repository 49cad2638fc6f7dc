"""What goes wrong meanwhile: processes and Valkey die, hang, or are asked to leave."""

import itertools
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from coursehub.stack.errors import StackError
from coursehub.stack.stack import Stack

SPARED = "broadcast:2"
"""Killed only in the first quarter: over the rest of the time its memory is followed."""


class Chaos(threading.Thread):
    """Does something bad every ``pause`` seconds; ``done`` counts what, ``failed`` says what did not come back."""

    def __init__(self, stack: Stack, *, pause: float, seconds: float, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self._stack, self._pause, self._over = stack, pause, over
        self._quarter = time.monotonic() + seconds / 4
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []

    def run(self) -> None:
        for name, deed in self._deeds():
            if self._over.wait(self._pause):
                return
            try:
                deed()
            except StackError as error:
                self.failed.append(f"after “{name}”: {error}")
                return
            self.done[name] += 1

    def _deeds(self) -> Iterator[tuple[str, Callable[[], None]]]:
        deeds: dict[str, Callable[[], None]] = {
            "Valkey killed": lambda: self._kill("valkey"),
            "broadcast killed": lambda: self._kill("broadcast"),
            "broadcast asked to leave": lambda: self._stack.restart("broadcast"),
            "worker killed": lambda: self._kill("worker"),
            "API killed": lambda: self._kill("api"),
            "relay killed": lambda: self._kill("relay"),
            "Valkey hung for 3 s": lambda: self._hang("valkey", 3),
        }
        yield "the other broadcast killed", lambda: self._kill(SPARED)
        for names in itertools.repeat(list(deeds)):
            for name in random.sample(names, len(names)):
                yield name, deeds[name]
            if time.monotonic() < self._quarter:
                yield "the other broadcast killed", lambda: self._kill(SPARED)

    def _kill(self, name: str) -> None:
        self._stack.kill(name)
        time.sleep(random.uniform(0, 1.5))
        self._stack.restart(name)

    def _hang(self, name: str, seconds: float) -> None:
        self._stack.kill(name, signal.SIGSTOP)
        time.sleep(seconds)
        self._stack.kill(name, signal.SIGCONT)
