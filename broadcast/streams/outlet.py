"""The way out to one event stream."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from broadcast.outlet import Outlet


class StreamOutlet(Outlet):
    """
    Messages to one client. The rest is as with a WebSocket.

    What other clients get is other bytes, so these are not written by the send loop.
    """

    __slots__ = ("_drained",)

    def __init__(self, transport: Any, **options: Any) -> None:
        self._drained: asyncio.Future[None] | None = None
        super().__init__(transport, **options)

    def put_joined(self, beginning: bytes, endings: Sequence[bytes]) -> None:
        """Send messages that begin alike, in one write."""
        if not self._open or self._lagging:
            for ending in endings:
                self.put(beginning + ending)
            return
        data = beginning + (endings[0] if len(endings) == 1 else beginning.join(endings))
        if (sent := self._send(data)) < len(data):
            self._hand_on_begun(beginning, endings, sent)

    async def drained(self, seconds: float) -> bool:
        """Wait until nothing waits any more, or the connection is gone; False: it took longer than that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._open and self._lagging:
                    self._drained = asyncio.get_running_loop().create_future()
                    await self._drained
                return True
        return False

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

    def _hand_on_begun(self, beginning: bytes, endings: Sequence[bytes], sent: int) -> None:
        """Hand on the rest of the message in which these bytes end; what follows it waits."""
        for number, ending in enumerate(endings):
            message = beginning + ending
            if sent < len(message):
                self._hand_on(message[sent:])
                for later in endings[number + 1 :]:
                    self.put(beginning + later)
                return
            sent -= len(message)
