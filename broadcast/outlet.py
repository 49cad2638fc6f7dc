"""
The way out to one client: the one place that writes to a socket.

Whole frames go to the transport until its buffer is full. What comes then waits here, up to a bound, and progress
gives way to newer progress. Over the bound the client is given up.
"""

from collections.abc import Callable, Hashable
from itertools import count
from typing import Protocol

from broadcast.contracts.frames import CloseCode
from broadcast.parcel import Parcel


class Transport(Protocol):
    """What is used of a Twisted transport."""

    def write(self, data: bytes, /) -> None:
        """Send bytes, or keep them until they can be sent."""

    def registerProducer(self, producer: object, streaming: bool, /) -> None:  # noqa: N802
        """Name who is to be told when to pause."""

    def unregisterProducer(self) -> None:  # noqa: N802
        """Name nobody."""


class Outlet:
    """
    Frames to one client, in order, in bounded memory; a push producer of its transport.

    ``on_full`` is called once, when over ``capacity_bytes`` are waiting. ``close_socket`` does the closing handshake.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        capacity_bytes: int,
        close_socket: Callable[[int], None],
        resume_reading: Callable[[], None],
    ) -> None:
        self.on_full: Callable[[], None] = lambda: None
        self.resume_reading = resume_reading
        self._transport = transport
        self._capacity_bytes = capacity_bytes
        self._close_socket = close_socket
        self._open = True
        self._paused = False
        self._waiting: dict[Hashable, bytes] = {}
        self._waiting_bytes = 0
        self._numbers = count()
        # Twisted's HTTP channel, which had this transport before, is its producer still.
        transport.unregisterProducer()
        transport.registerProducer(self, True)

    @property
    def is_open(self) -> bool:
        """False once nothing more can be sent."""
        return self._open

    @property
    def waiting_bytes(self) -> int:
        """What waits here, beside the transport's own buffer."""
        return self._waiting_bytes

    def deliver(self, parcel: Parcel) -> None:
        """Send an event."""
        if self._open and not self._paused:
            self._transport.write(parcel.wire)
        elif self._open:
            self._keep(parcel.wire, next(self._numbers) if parcel.seq is not None else parcel.progress_key)

    def write(self, frame: bytes) -> None:
        """Send a whole WebSocket frame."""
        if self._open and not self._paused:
            self._transport.write(frame)
        elif self._open:
            self._keep(frame, next(self._numbers))

    def close(self, code: CloseCode, last_frame: bytes) -> None:
        """Send one last frame ahead of whatever waits here, then close."""
        if self._open:
            self.shut()
            self._transport.write(last_frame)
            self._close_socket(int(code))

    def shut(self) -> None:
        """Send nothing more: the connection is closing or gone."""
        self._open = False
        self._waiting.clear()
        self._waiting_bytes = 0

    def pauseProducing(self) -> None:  # noqa: N802
        """Be told by the transport that its buffer is full."""
        self._paused = True

    def resumeProducing(self) -> None:  # noqa: N802
        """Be told by the transport that its buffer is empty."""
        self._paused = False
        while self._waiting and not self._paused:
            key = next(iter(self._waiting))
            frame = self._waiting.pop(key)
            self._waiting_bytes -= len(frame)
            self._transport.write(frame)

    def stopProducing(self) -> None:  # noqa: N802
        """Be told by the transport that it is gone."""
        self.shut()

    def _keep(self, frame: bytes, key: Hashable) -> None:
        self._waiting_bytes += len(frame) - len(self._waiting.pop(key, b""))
        self._waiting[key] = frame
        if self._waiting_bytes > self._capacity_bytes:
            self.on_full()
