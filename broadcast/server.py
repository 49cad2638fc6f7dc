"""
Daphne, with what this service needs of it: bounds, refusals before the upgrade, and the way out to each socket.

Importing this installs Twisted's asyncio reactor (`daphne.server` does), so it comes before anything else of Twisted.
"""

import asyncio
import logging
import signal
from typing import Any, Final

from daphne.server import Server

from daphne.http_protocol import HTTPFactory, WebRequest  # isort: skip
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol  # isort: skip
from twisted.internet import reactor  # isort: skip
from twisted.internet.error import CannotListenError  # isort: skip
from twisted.logger import (  # isort: skip
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    globalLogBeginner,
)

from broadcast.application import make_application
from broadcast.config import Settings
from broadcast.consumers import OUTLET
from broadcast.contracts import bridge, frames
from broadcast.outlet import Outlet
from broadcast.service import Service

log = logging.getLogger(__name__)

_TOO_LARGE_BODY: Final = (
    b'{"success": false, "error": {"code": "payload_too_large", "message": "The body is larger than may be."}}'
)
_TOO_LARGE: Final = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_TOO_LARGE_BODY), _TOO_LARGE_BODY)
)
_MOST_DISCARDED_BYTES: Final = 16 * bridge.MAX_BODY_BYTES
_MOST_UNREAD_FRAMES: Final = 64
_BACKLOG: Final = 4096


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
        if self.requestHeaders.hasHeader(b"upgrade") and not self.server.takes_upgrade(self.path):
            # As an ordinary request it gets an ordinary answer that says why.
            self.requestHeaders.removeHeader(b"upgrade")
        return super().process()

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


class BroadcastServer(Server):  # type: ignore[misc]
    """Daphne's server, with the protocols above and a drain."""

    def __init__(self, settings: Settings, service: Service) -> None:
        super().__init__(
            make_application(service),
            endpoints=["tcp"],
            websocket_timeout=-1,
            websocket_connect_timeout=settings.handshake_seconds,
            websocket_handshake_timeout=settings.handshake_seconds,
            websocket_max_message_size=settings.frame_bytes,
            websocket_max_frame_size=settings.frame_bytes,
            ping_interval=settings.ping_seconds,
            ping_timeout=settings.ping_timeout_seconds,
            server_name="",
        )
        self.settings = settings
        self.service = service
        self.exit_code = 0
        self.connections: dict[Any, dict[str, Any]] = {}
        self._stopping = False

    def takes_upgrade(self, path: bytes) -> bool:
        """Tell whether a WebSocket may be opened here and now."""
        service = self.service
        taken = path == frames.PATH.encode() and service.ready and not service.draining
        if not taken:
            service.metrics.refused.labels("503" if path == frames.PATH.encode() else "404").inc()
        return taken

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Start the application for a connection; a WebSocket's gets its `Outlet` as an ASGI extension."""
        if scope["type"] == "websocket":
            scope["extensions"] = {OUTLET: protocol.make_outlet(self.settings.send_buffer_bytes)}
        return super().create_application(protocol, scope)

    def run(self) -> int:
        """Serve until told to stop; returns the exit code of the process."""
        loop = reactor._asyncioEventloop
        asyncio.set_event_loop(loop)
        observer = STDLibLogObserver("twisted")
        critical = FilteringLogObserver(observer, [LogLevelFilterPredicate(LogLevel.critical)])
        globalLogBeginner.beginLoggingTo([critical], redirectStandardIO=False, discardBuffer=True)
        self._make_factories()
        self._listen()
        background = loop.create_task(self.service.run())
        background.add_done_callback(self._on_background_end)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, loop)
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        reactor.run(installSignalHandlers=False)
        background.cancel()
        loop.run_until_complete(asyncio.wait([background]))
        return self.exit_code

    def _make_factories(self) -> None:
        self.http_factory = RequestFactory(self)
        self.http_factory.timeOut = self.settings.http_idle_seconds
        self.ws_factory = SocketFactory(self, server=self.server_name)
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=self.websocket_max_message_size,
            maxFramePayloadSize=self.websocket_max_frame_size,
            # So that a client reads why (1002, 1007, 1009) instead of finding the connection gone.
            failByDrop=False,
        )

    def _listen(self) -> None:
        host, port = self.settings.host, self.settings.port
        try:
            reactor.listenTCP(port, self.http_factory, backlog=_BACKLOG, interface=host)
        except CannotListenError as problem:
            raise SystemExit(f"broadcast: cannot listen on {host}:{port}: {problem.socketError}") from problem
        log.info("Listening", extra={"host": host, "port": port})

    def _on_signal(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._stopping:
            reactor.stop()
            return
        self._stopping = True
        self._draining = loop.create_task(self.service.drain())
        self._draining.add_done_callback(self._on_drained)

    def _on_drained(self, draining: "asyncio.Task[None]") -> None:
        if (problem := draining.exception()) is not None:
            log.error("The drain failed", exc_info=problem)
        reactor.stop()

    def _on_background_end(self, background: "asyncio.Task[None]") -> None:
        if not background.cancelled() and reactor.running:
            log.critical("The service failed", exc_info=background.exception())
            self.exit_code = 1
            reactor.stop()
