"""A channel layer whose every message meets the fate that a test chose for it."""

import asyncio
from collections.abc import Sequence
from enum import Enum

from tests.support.broadcast_fakes import Message, Network


class Fate(Enum):
    """What becomes of a message."""

    DELIVERED = "delivered"
    LOST = "lost"
    DOUBLED = "doubled"
    LATE = "late"


class FatedNetwork(Network):
    """
    Channel layers in memory; ``fates`` of the messages in the order in which they are sent, again and again.

    Beacons, by which a process notices that its layer is silent altogether, always arrive: what is lost is lost unseen.
    """

    def __init__(self, fates: Sequence[Fate], *, late_seconds: float = 0.02) -> None:
        super().__init__()
        self._fates = fates
        self._late_seconds = late_seconds
        self._sent = 0

    def send(self, channel: str, message: Message) -> None:
        """Carry a message, or not."""
        fate = Fate.DELIVERED if message["type"] == "beacon" else self._next_fate()
        queue = self.queue(channel)
        if fate is Fate.LATE:
            asyncio.get_running_loop().call_later(self._late_seconds, queue.put_nowait, message)
        elif fate is not Fate.LOST:
            for _ in range(2 if fate is Fate.DOUBLED else 1):
                queue.put_nowait(message)
        self.lost += fate is Fate.LOST

    def _next_fate(self) -> Fate:
        fate = self._fates[self._sent % len(self._fates)]
        self._sent += 1
        return fate
