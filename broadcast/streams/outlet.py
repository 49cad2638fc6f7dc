"""The way out to one event stream."""

from collections.abc import Sequence

from broadcast.outlet import Outlet


class StreamOutlet(Outlet):
    """
    Messages to one client. The rest is as with a WebSocket.

    What other clients get is other bytes, so these are not written by the send loop.
    """

    __slots__ = ()

    def put_joined(self, beginning: bytes, endings: Sequence[bytes]) -> None:
        """Send messages that begin alike, in one write."""
        if not self._open or self._lagging:
            for ending in endings:
                self.put(beginning + ending)
            return
        data = beginning + (endings[0] if len(endings) == 1 else beginning.join(endings))
        if (sent := self._send(data)) < len(data):
            self._hand_on_begun(beginning, endings, sent)

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
