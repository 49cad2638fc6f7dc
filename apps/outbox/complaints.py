"""Saying what fails again and again: not at each attempt."""

import logging
import time
from collections.abc import Callable

from apps.core import outages
from apps.outbox.bridge import BridgeError

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 10.0, 600.0


class Complaints:
    """
    What is said of one chore: why it fails, at once; then after pauses that double, unless the reason changes.

    That it works again is said, too.
    """

    def __init__(self, chore: str, seconds: Callable[[], float] = time.monotonic) -> None:
        self._chore, self._seconds = chore, seconds
        self._reason = ""
        self._due = self._pause = 0.0

    def failed(self, error: Exception) -> None:
        """Say why the chore failed, if it is time to."""
        reason = repr(error)
        if reason != self._reason:
            self._reason, self._pause = reason, _FIRST_PAUSE_SECONDS
        elif self._seconds() < self._due:
            return
        else:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        self._due = self._seconds() + self._pause
        self._say(error)

    def worked(self) -> None:
        """Say that the chore works again, if it failed before."""
        if self._reason:
            self._reason = ""
            log.info("A chore works again.", extra={"chore": self._chore})

    def _say(self, error: Exception) -> None:
        if isinstance(error, BridgeError):
            log.warning("The broadcast service is away.", extra={"chore": self._chore, "reason": str(error)})
        else:
            outages.report(log, "A chore failed.", error, chore=self._chore)
