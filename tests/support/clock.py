"""A clock that goes when it is told to."""


class Clock:
    """Stands where a module has ``time``: its ``monotonic`` counts only what a test lets pass."""

    def __init__(self) -> None:
        self.asked = 0
        self._seconds = 1_000.0

    def monotonic(self) -> float:
        seconds = self._seconds
        self.asked += 1
        return seconds

    def pass_(self, seconds: float) -> None:
        """Let time go by."""
        self._seconds += seconds
