"""
The way out to one client.

While the client keeps up, frames go straight to its socket: by the send loop, which finds it by its line, or from here.
Once something does not fit, the client is a laggard: Twisted gets the frame that was begun, and what follows waits
here, up to a bound, progress giving way to newer progress, until Twisted's buffer is empty. Over the bound the client
is given up.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Hashable, Sequence
from itertools import islice
from typing import Final, Protocol

from broadcast.contracts.frames import CloseCode
from broadcast.parcel import Parcel
from broadcast.sending.lines import CLOSED
from broadcast.sending.turn import Turn

_FRAMES_AT_ONCE: Final = 64
_PING_AND_PONG: Final = {b"\x89", b"\x8a"}


class Transport(Protocol):
    """What is used of a Twisted transport."""

    def write(self, data: bytes, /) -> None:
        """Send bytes, or keep them until they can be sent."""

    def registerProducer(self, producer: object, streaming: bool, /) -> None:  # noqa: N802
        """Name who is to be told when to go on; if ``streaming``, when to pause, too."""

    def unregisterProducer(self) -> None:  # noqa: N802
        """Name nobody."""


class Outlet:
    """
    Frames to one client, in order, in bounded memory.

    ``socket``: the descriptor to write to while ``transport`` has nothing to write, `CLOSED` if everything has to go
    through it (TLS). ``is_idle``: the transport has nothing to write now. ``on_full`` is called once, when over
    ``capacity_bytes`` are waiting. ``close_socket`` does the closing handshake.

    Whoever owns the connection must call `lose` before or while the socket is closed, in one go with it: the
    descriptor may belong to another connection soon after.
    """

    __slots__ = (
        "_capacity_bytes",
        "_close_socket",
        "_drained",
        "_lagging",
        "_number",
        "_open",
        "_socket",
        "_transport",
        "_turn",
        "_waiting",
        "_waiting_bytes",
        "line",
        "on_full",
        "resume_reading",
    )

    def __init__(
        self,
        transport: Transport,
        *,
        turn: Turn,
        capacity_bytes: int,
        close_socket: Callable[[int], None],
        resume_reading: Callable[[], None],
        socket: int = CLOSED,
        is_idle: bool = True,
    ) -> None:
        self._turn = turn
        self.line = turn.lines.take()
        self.on_full: Callable[[], None] = _ignore
        self.resume_reading = resume_reading
        self._transport = transport
        self._socket = socket
        self._capacity_bytes = capacity_bytes
        self._close_socket = close_socket
        self._open = True
        self._lagging = False
        self._drained: asyncio.Future[None] | None = None
        self._waiting: dict[Hashable, bytes] | None = None
        self._waiting_bytes = 0
        self._number = 0
        # Twisted's HTTP channel, which had this transport before, is its producer still.
        transport.unregisterProducer()
        if socket == CLOSED:
            transport.registerProducer(self, True)
        elif is_idle:
            turn.lines.sockets[self.line] = socket
        else:
            self._lag()

    def __del__(self) -> None:
        # Not before: an audience that still holds this outlet must find its line closed, not another client's.
        self._turn.lines.give_back(self.line)

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
        self._turn.flush()
        self._put_event(parcel)

    def write(self, frame: bytes) -> None:
        """Send a whole frame when this turn of the loop is over, after every event that was emitted before."""
        if self._open:
            self._turn.add_alone(frame, self)

    def put(self, data: bytes, key: Hashable = None) -> None:
        """Send whole frames now; if they have to wait, later ones with the same ``key`` replace them."""
        if not self._open:
            return
        if self._lagging:
            self._keep(data, key)
        elif (sent := self._send(data)) < len(data):
            self._hand_on(data[sent:])

    def settle(self) -> None:
        """Have everything out that was emitted or written before."""
        self._turn.flush()

    async def drained(self, seconds: float) -> bool:
        """Wait until nothing waits any more, or the connection is gone; False: it took longer than that."""
        if not (self._open and self._lagging):
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._open and self._lagging:
                    self._drained = asyncio.get_running_loop().create_future()
                    await self._drained
                return True
        return False

    def take(self, parcels: Sequence[Parcel], sent: int) -> None:
        """Send what the send loop could not write of these parcels, which begins after ``sent`` bytes."""
        for parcel in parcels:
            if sent >= len(parcel.wire):
                sent -= len(parcel.wire)
            elif sent:
                self._lag(parcel.wire[sent:])
                sent = 0
            else:
                self._put_event(parcel)

    def pass_on(self, frame: bytes) -> None:
        """Send what the WebSocket library wants to send, in order with the rest; of pings and pongs only the newest."""
        if self._turn.has_for(self):
            self._turn.flush()
        self.put(frame, frame[:1] if frame[:1] in _PING_AND_PONG else None)

    def close(self, code: CloseCode, last_frame: bytes) -> None:
        """Send one last frame, after what is out already and ahead of whatever waits here, then close."""
        self._turn.flush()
        if self._open:
            self.shut()
            self._transport.write(last_frame)
            self._close_socket(int(code))

    def detour(self) -> None:
        """Let everything go through the transport from now on."""
        if self._open and self._socket != CLOSED:
            self._socket = self._turn.lines.sockets[self.line] = CLOSED
            self._transport.unregisterProducer()
            self._transport.registerProducer(self, True)
            self.resumeProducing()

    def shut(self) -> None:
        """Send nothing more: the connection is closing or gone."""
        if self._open:
            self._open = False
            self._turn.lines.sockets[self.line] = CLOSED
            self._set_lagging(False)
            self._waiting = None
            self._waiting_bytes = 0
            self.on_full = _ignore
            # Twisted would wait for a producer before it closes.
            self._transport.unregisterProducer()
            self._tell_drained()

    def lose(self) -> None:
        """Be told that the connection is gone, and hold nothing of it any more: what holds itself is freed late."""
        self.shut()
        self._close_socket = self.resume_reading = _ignore

    def pauseProducing(self) -> None:  # noqa: N802
        """Be told by the transport that its buffer is full."""
        if self._open:
            self._set_lagging(True)

    def resumeProducing(self) -> None:  # noqa: N802
        """Be told by the transport that its buffer is empty."""
        if not self._lagging:
            return
        self._set_lagging(False)
        if self._socket != CLOSED:
            self._transport.unregisterProducer()
        while self._waiting and not self._lagging:
            self._drain(self._waiting)
        if self._open and not self._lagging:
            self._waiting = None
            self._turn.lines.sockets[self.line] = self._socket
            self._tell_drained()

    def stopProducing(self) -> None:  # noqa: N802
        """Be told by the transport that it is gone."""
        self.shut()

    def _tell_drained(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _put_event(self, parcel: Parcel) -> None:
        self.put(parcel.wire, parcel.progress_key if parcel.seq is None else None)

    def _drain(self, waiting: dict[Hashable, bytes]) -> None:
        some = list(islice(waiting.items(), _FRAMES_AT_ONCE if self._socket != CLOSED else 1))
        sent = self._send(b"".join([frame for _, frame in some]))
        for key, frame in some:
            del waiting[key]
            self._waiting_bytes -= len(frame)
            if sent < len(frame):
                self._hand_on(frame[sent:])
                break
            sent -= len(frame)

    def _hand_on(self, rest: bytes) -> None:
        if self._socket == CLOSED:
            self._transport.write(rest)
        else:
            self._lag(rest)

    def _send(self, data: bytes) -> int:
        if self._socket == CLOSED:
            return 0
        try:
            return os.write(self._socket, data)
        except OSError:
            # Full or broken: Twisted finds out, and closes what is broken.
            return 0

    def _lag(self, rest: bytes = b"") -> None:
        # A pull producer: told whenever the buffer is empty. Told at once, too, but then it is not lagging yet.
        self._turn.lines.sockets[self.line] = CLOSED
        self._transport.write(rest)
        self._transport.registerProducer(self, False)
        if self._open:
            self._set_lagging(True)

    def _set_lagging(self, lagging: bool) -> None:
        self._turn.lines.laggards += lagging - self._lagging
        self._lagging = lagging

    def _keep(self, frame: bytes, key: Hashable) -> None:
        if self._waiting is None:
            self._waiting = {}
        if key is None:
            key = self._number = self._number + 1
        elif (replaced := self._waiting.pop(key, None)) is not None:
            self._waiting_bytes -= len(replaced)
            self._turn.lines.on_superseded()
        self._waiting[key] = frame
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > self._capacity_bytes:
            self.on_full()


def _ignore(*_: object) -> None:
    pass
