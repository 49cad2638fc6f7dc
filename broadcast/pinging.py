"""Who is still there: one wheel that asks every connection in turn, in place of timers for each."""

from collections import deque
from itertools import cycle
from typing import Protocol


class Peer(Protocol):
    """A connection, as it is asked whether it is there."""

    heard: bool
    """Something came from it since it was asked; whoever reads from it sets this."""
    asked_at: float
    """When it was asked what it has not answered."""
    slot: int
    """Where it is in the wheel."""

    def ask(self) -> None:
        """Send it a ping."""

    def give_up(self) -> None:
        """Drop it: it did not answer."""


class Pinging:
    """
    Asks each peer once in ``period_seconds``, and drops those that let ``timeout_seconds`` pass in silence.

    `tick` has to be called ``slots`` times in each period; what it costs is spread over them.
    """

    def __init__(self, *, period_seconds: float, timeout_seconds: float, slots: int = 20) -> None:
        self.tick_seconds = period_seconds / slots
        self._timeout_seconds = timeout_seconds
        self._slots: list[dict[Peer, None]] = [{} for _ in range(slots)]
        self._next = cycle(range(slots))
        self._turn = cycle(self._slots)
        self._asked: deque[tuple[float, list[Peer]]] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._slots))

    def add(self, peer: Peer) -> None:
        """Let a peer in."""
        peer.slot = next(self._next)
        self._slots[peer.slot][peer] = None

    def remove(self, peer: Peer) -> None:
        """Let a peer go."""
        self._slots[peer.slot].pop(peer, None)

    def tick(self, now: float) -> None:
        """Ask those whose turn it is, and drop those that were asked long enough ago; ``now`` in seconds."""
        while self._asked and self._asked[0][0] <= now:
            self._drop_silent(self._asked.popleft()[1], now)
        peers = list(next(self._turn))
        for peer in peers:
            if peer.heard:
                peer.heard, peer.asked_at = False, now
            peer.ask()
        self._asked.append((now + self._timeout_seconds, peers))

    def _drop_silent(self, peers: list[Peer], now: float) -> None:
        for peer in peers:
            # One that has answered meanwhile may have been asked again.
            if not peer.heard and peer.asked_at <= now - self._timeout_seconds and peer in self._slots[peer.slot]:
                peer.give_up()
