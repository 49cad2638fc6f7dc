"""How many steps one transaction runs, so that it holds its locks for a moment only."""

_SECONDS = 0.07
_LEAST = 10


class Pace:
    """
    Steps at once, up to ``most``: fewer when so many took longer than a moment, more again when they took less.

    A worker's threads share it; that one of them forgets what another has just learned does no harm.
    """

    def __init__(self, most: int, *, at_first: int | None = None) -> None:
        self._most = most
        self.steps = most if at_first is None else at_first

    def note(self, steps: int, seconds: float) -> None:
        """
        Learn how long a transaction with so many steps was open.

        Fewer steps than might have been say nothing unless they were too slow: most of their time is the transaction's.
        """
        if steps >= self.steps or seconds > _SECONDS:
            fitting = int(steps * _SECONDS / max(seconds, 1e-6))
            self.steps = min(self._most, max(_LEAST, min(fitting, 2 * self.steps)))
