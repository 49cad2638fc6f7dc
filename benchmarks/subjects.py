"""What a benchmark's user does: send a save, and see it on a screen. The same for CourseHub and for the floor."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from demo.client import Api, Hear, Json, Listener, Received

PATIENCE_SECONDS = 60.0

Request = tuple[str, str, Json]
"""Method, path and body."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One save. Times are seconds since it was sent; ``sent_at`` is the clock's, in seconds since the epoch."""

    operation_id: str
    sent_at: float
    answered: float
    heard: float


class Screen:
    """A WebSocket connection that knows when an event of an operation came. ``connect`` opens it."""

    def __init__(self, connect: Callable[[Hear], Listener]) -> None:
        self._came: dict[tuple[str, str], float] = {}
        self._wanted: dict[tuple[str, str], threading.Event] = {}
        self._lock = threading.Lock()
        self.listener = connect(self._hear)

    def wait(self, operation_id: str, type_: str) -> float:
        """Wait for an operation's event of a type; returns when it came (``time.perf_counter``)."""
        key = operation_id, type_
        with self._lock:
            if key in self._came:
                return self._came[key]
            wanted = self._wanted[key] = threading.Event()
        if not wanted.wait(PATIENCE_SECONDS):
            raise TimeoutError(f"No {type_} of {operation_id} came.")
        return self._came[key]

    def close(self) -> None:
        self.listener.close()

    def _hear(self, received: Received) -> None:
        key = received.frame.get("operationId", ""), received.frame["type"]
        with self._lock:
            self._came.setdefault(key, received.at)
            if key in self._wanted:
                self._wanted[key].set()


@dataclass(slots=True)
class Saver:
    """
    One user at work: makes a request, and waits until their screen shows it.

    ``request`` makes the n-th request; an event of type ``shown_by`` says that it is done.
    """

    api: Api
    screen: Screen
    request: Callable[[int], Request]
    shown_by: str
    _numbers: "count[int]" = field(default_factory=count)

    def save(self) -> Sample:
        """Save once."""
        method, path, body = self.request(next(self._numbers))
        sent_at, started = time.time(), time.perf_counter()
        answer = self.api.request(method, path, body)
        heard = self.screen.wait(answer.operation_id, self.shown_by) - started
        return Sample(answer.operation_id, sent_at, answer.seconds, heard)

    def close(self) -> None:
        self.api.close()
        self.screen.close()
