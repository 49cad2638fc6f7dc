"""The way out to one event stream."""

import asyncio
import contextlib
from collections.abc import Hashable
from typing import Any, Final

from broadcast.contracts.frames import CloseCode
from broadcast.outlet import Outlet

_MOST_AT_ONCE: Final = 64


class Gathering:
    """Outlets that have something to send when this turn of the event loop is over."""

    def __init__(self) -> None:
        self._outlets: list[StreamOutlet] = []

    def add(self, outlet: "StreamOutlet") -> None:
        """Have an outlet flushed when this turn is over."""
        if not self._outlets:
            asyncio.get_running_loop().call_soon(self.flush)
        self._outlets.append(outlet)

    def flush(self) -> None:
        """Send what waits for the end of the turn."""
        outlets, self._outlets = self._outlets, []
        for outlet in outlets:
            outlet.flush()


class StreamOutlet(Outlet):
    """
    Messages to one client, joined while a turn of the loop lasts. The rest is as with a WebSocket.

    What other clients get is other bytes, so these are not written by the send loop.
    """

    __slots__ = ("_drained", "_fresh", "_gathering", "_keys")

    def __init__(self, transport: Any, *, gathering: Gathering, **options: Any) -> None:
        self._gathering = gathering
        self._fresh: list[bytes] = []
        self._keys: dict[int, Hashable] = {}
        self._drained: asyncio.Future[None] | None = None
        super().__init__(transport, **options)

    def put(self, message: bytes, key: Hashable = None) -> None:
        """Send a message when this turn is over; if it has to wait, a later one with the same ``key`` replaces it."""
        fresh = self._fresh
        if not fresh:
            self._gathering.add(self)
        if key is not None:
            self._keys[len(fresh)] = key
        fresh.append(message)
        if len(fresh) >= _MOST_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Send what was put."""
        fresh = self._fresh
        if not fresh:
            return
        self._fresh, begun = [], 0
        if self._open and not self._lagging:
            data = fresh[0] if len(fresh) == 1 else b"".join(fresh)
            sent = self._send(data)
            begun = len(fresh) if sent == len(data) else self._hand_on_begun(fresh, sent)
        keys, self._keys = self._keys, {}
        for number in range(begun, len(fresh)):
            self._put(fresh[number], keys.get(number))

    def write(self, frame: bytes) -> None:
        """Send a message now, after everything that was put before."""
        self.flush()
        self._put(frame)

    async def drained(self, seconds: float) -> bool:
        """Wait until nothing waits any more, or the connection is gone; False: it took longer than that."""
        self.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._open and self._lagging:
                    self._drained = asyncio.get_running_loop().create_future()
                    await self._drained
                return True
        return False

    def close(self, code: CloseCode, last_frame: bytes) -> None:
        """Send one last message, and close."""
        self.flush()
        super().close(code, last_frame)

    def shut(self) -> None:
        """Send nothing more: the connection is closing or gone."""
        super().shut()
        self._tell_drained()

    def resumeProducing(self) -> None:  # noqa: N802
        """Be told by the transport that its buffer is empty."""
        super().resumeProducing()
        if not self._lagging:
            self._tell_drained()

    def _tell_drained(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _hand_on_begun(self, messages: list[bytes], sent: int) -> int:
        """Hand on the rest of the message in which these bytes end; returns the number of the next."""
        for number, message in enumerate(messages, 1):
            if sent < len(message):
                self._hand_on(message[sent:])
                return number
            sent -= len(message)
        return len(messages)
