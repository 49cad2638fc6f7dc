"""Brings back what dies: the sooner, the longer it had lived."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from coursehub.stack import errors, processes

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, SETTLED_SECONDS = 0.5, 30.0, 60.0


class Runner(Protocol):
    """A part or a service: something with one child at a time."""

    name: str
    log: Path
    child: processes.Child | None

    def start(self) -> None:
        """Start the child."""

    def stop(self) -> None:
        """Stop the child; safe to call again."""


class Attendant:
    """
    Watches over the lives of one runner in a thread of its own, until ``over`` is set.

    ``lock`` is held while it starts anything; who sets ``over`` and then takes the lock knows that nothing new comes.
    """

    def __init__(
        self, runner: Runner, *, over: threading.Event, lock: threading.RLock, say: Callable[[str], None]
    ) -> None:
        self._runner, self._over, self._lock, self._say = runner, over, lock, say
        self._delay = FIRST_DELAY_SECONDS
        threading.Thread(target=self._watch, daemon=True, name=f"watch {runner.name}").start()

    def _watch(self) -> None:
        while child := self._runner.child:
            began = time.monotonic()
            code = child.wait()
            with self._lock:
                replaced = self._runner.child is not child
            if self._over.is_set():
                return
            if not replaced:
                self._died(child, code, lived_seconds=time.monotonic() - began)

    def _died(self, child: processes.Child, code: int, lived_seconds: float) -> None:
        child.reap()
        if lived_seconds > SETTLED_SECONDS:
            self._delay = FIRST_DELAY_SECONDS
        self._say(f"{self._runner.name} died ({processes.describe_exit(code)}); its log: {self._runner.log}")
        while not self._over.wait(self._delay) and self._runner.child is child:
            self._delay = min(2 * self._delay, LONGEST_DELAY_SECONDS)
            self._bring_back(child)

    def _bring_back(self, dead: processes.Child) -> None:
        try:
            with self._lock:
                if not self._over.is_set() and self._runner.child is dead:
                    self._runner.start()
                    self._say(f"{self._runner.name} is started again.")
        except errors.StackError as error:
            self._say(str(error))
