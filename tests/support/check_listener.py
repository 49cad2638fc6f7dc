"""A client of a delivery check without a socket."""

import time


class MemoryListener:
    """Hears every operation's end at once, or nothing."""

    def __init__(self, *, hears: bool = True, problem: str = "") -> None:
        self.problem = problem
        self.closed = False
        self._hears = hears

    def wait_for_end_of(self, operation_key: str, timeout_seconds: float) -> float | None:
        """Have heard it, or not."""
        return time.time() if self._hears else None

    def close(self) -> None:
        """Leave."""
        self.closed = True
