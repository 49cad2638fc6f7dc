"""
Daphne's protocols, with what this service needs of them: bounds, refusals before the upgrade, and a way out.

`daphne.server` installs Twisted's asyncio reactor, so it is imported before anything else of Twisted.
"""

from typing import Any, Final

import daphne.server  # type: ignore[import-untyped]  # noqa: F401
from daphne.http_protocol import HTTPFactory, WebRequest  # type: ignore[import-untyped]
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol  # type: ignore[import-untyped]

from broadcast.contracts import bridge
from broadcast.outlet import Outlet

_TOO_LARGE_BODY: Final = (
    b'{"success": false, "error": {"code": "payload_too_large", "message": "The body is larger than may be."}}'
)
_TOO_LARGE: Final = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_TOO_LARGE_BODY), _TOO_LARGE_BODY)
)
_MOST_DISCARDED_BYTES: Final = 16 * bridge.MAX_BODY_BYTES
_MOST_UNREAD_FRAMES: Final = 64


class Request(WebRequest):  # type: ignore[misc]
    """An HTTP request with a bounded body, upgraded only where and while there are WebSockets."""

    _received_bytes = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        """Be told the body's size, if the client told it: too large a one is refused before it comes."""
        super().gotLength(min(length or 0, bridge.MAX_BODY_BYTES))
        if length is not None and length > bridge.MAX_BODY_BYTES:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """Take a piece of the body."""
        self._received_bytes += len(data)
        if self._received_bytes > bridge.MAX_BODY_BYTES and not self._refused:
            self._refuse()
        if not self._refused:
            super().handleContentChunk(data)
        elif self._received_bytes > _MOST_DISCARDED_BYTES:
            self.channel.forceAbortClient()

    def process(self) -> Any:
        """Serve the request, now that it is here."""
        if self._refused:
            self.channel.loseConnection()
            return None
        if self._wants_upgrade() and not self.server.takes_upgrade(self.path):
            # As an ordinary request it gets an ordinary answer that says why.
            self.requestHeaders.removeHeader(b"upgrade")
        return super().process()

    def _wants_upgrade(self) -> bool:
        return any(value.lower() == b"websocket" for value in self.requestHeaders.getRawHeaders(b"upgrade", []))

    def _refuse(self) -> None:
        # What still comes is read and thrown away: closing at once would lose the answer on its way.
        self._refused = True
        self.server.service.metrics.bridge.labels("413").inc()
        self.requestHeaders.removeHeader(b"expect")
        self.channel.transport.write(_TOO_LARGE)


class RequestFactory(HTTPFactory):  # type: ignore[misc]
    """Makes an HTTP channel for each connection."""

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        """Make the channel of one connection."""
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        return protocol


class SocketProtocol(WebSocketProtocol):  # type: ignore[misc]
    """A WebSocket that hands its `Outlet` to the application, and reads no faster than the application does."""

    outlet: Outlet | None = None
    _reading = True

    def make_outlet(self, capacity_bytes: int) -> Outlet:
        """Make the way out to this client."""
        self.outlet = Outlet(
            self.transport,
            capacity_bytes=capacity_bytes,
            close_socket=self.serverClose,
            resume_reading=self._resume_reading,
        )
        return self.outlet

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        """Pass a message to the application."""
        super().onMessage(payload, isBinary)
        if self._reading and self.application_queue.qsize() >= _MOST_UNREAD_FRAMES:
            self._reading = False
            self.transport.pauseProducing()

    def sendCloseFrame(self, *args: Any, **kwargs: Any) -> None:  # noqa: N802
        """Send a close frame, after which nothing else may follow (RFC 6455, section 5.5.1)."""
        if self.outlet is not None:
            self.outlet.shut()
        super().sendCloseFrame(*args, **kwargs)
        # The answer to it has to be read, too.
        self._resume_reading()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        """Be told that the connection is gone."""
        if self.outlet is not None:
            self.outlet.shut()
        super().connectionLost(reason)

    def _resume_reading(self) -> None:
        if not self._reading and self.state != self.STATE_CLOSED:
            self._reading = True
            self.transport.resumeProducing()


class SocketFactory(WebSocketFactory):  # type: ignore[misc]
    """Makes a `SocketProtocol` for each upgrade."""

    protocol = SocketProtocol
