"""
The entrance: what every connection is at first. It looks at the request, and hands the connection over.

A plain request for a WebSocket becomes one at once; everything else gets Twisted's HTTP channel, made then.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet import protocol

from broadcast import handshake
from broadcast.handshake import Upgrade

_PREFIX_LENGTH: Final = len(handshake.PREFIX)


class House(Protocol):
    """What lies behind the entrance."""

    @property
    def half_open(self) -> "Waiting":
        """Those of whom no request has come yet."""

    def make_channel(self) -> Any:
        """Make the protocol for HTTP."""

    def open_socket(self, transport: Any, upgrade: Upgrade, rest: bytes) -> None:
        """Let a WebSocket begin, or refuse it; ``rest`` is what came after the request."""


class Waiting:
    """
    Connections that are neither a WebSocket nor a stream: half open, HTTP between two requests, or new to the bridge.

    At most ``capacity``, for ``patience_seconds`` each. One more, and the one that has been silent for longest is cut
    off, so that silent ones keep nobody out. ``on_cut`` is called for each that is cut off.
    """

    def __init__(self, *, capacity: int, patience_seconds: float, on_cut: Callable[[], None]) -> None:
        self._capacity = capacity
        self._patience_seconds = patience_seconds
        self._on_cut = on_cut
        self._since: OrderedDict[Any, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._since)

    def note(self, transport: Any, now: float) -> None:
        """Hear that a connection came, or said something, at ``now`` (seconds of a clock that never goes back)."""
        self._since[transport] = now
        self._since.move_to_end(transport)
        if len(self._since) > self._capacity:
            self._cut(next(iter(self._since)))

    def forget(self, transport: Any) -> None:
        """Hear that a connection is gone, or has become something else; without effect when it was forgotten."""
        self._since.pop(transport, None)

    def sweep(self, now: float) -> None:
        """Close those that have been silent for too long; cut off those that hinder that."""
        while self._since:
            transport, since = next(iter(self._since.items()))
            if now - since < self._patience_seconds:
                return
            if transport.disconnecting:
                # It does not read the answer that it still has to get.
                self._cut(transport)
            else:
                transport.loseConnection()
                self._since[transport] = now
                self._since.move_to_end(transport)

    def _cut(self, transport: Any) -> None:
        self.forget(transport)
        self._on_cut()
        transport.abortConnection()


class Entrance(protocol.Protocol):
    """The first protocol of each connection."""

    def __init__(self, house: House, clock: Callable[[], float]) -> None:
        self._house = house
        self._clock = clock
        self._data = b""

    def connectionMade(self) -> None:  # noqa: N802
        """Begin to wait for a request."""
        self._house.half_open.note(self.transport, self._clock())

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002, N802
        """Be told that the connection is gone."""
        self._house.half_open.forget(self.transport)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Look at what has come so far."""
        data = self._data = self._data + data
        if data[:_PREFIX_LENGTH] == handshake.PREFIX:
            self._open_socket(data)
        elif handshake.head_length(data) or len(data) > handshake.LONGEST_HEAD:
            self._hand_over(self._house.make_channel(), data)

    def _open_socket(self, data: bytes) -> None:
        length = handshake.head_length(data)
        if not length and len(data) <= handshake.LONGEST_HEAD:
            return
        upgrade = handshake.read(data[:length]) if length else None
        if upgrade is None:
            self._hand_over(self._house.make_channel(), data)
        else:
            self._house.half_open.forget(self.transport)
            self._house.open_socket(self.transport, upgrade, data[length:])

    def _hand_over(self, made: Any, data: bytes) -> None:
        transport: Any = self.transport
        self._house.half_open.forget(transport)
        transport.protocol = made
        made.makeConnection(transport)
        made.dataReceived(data)
