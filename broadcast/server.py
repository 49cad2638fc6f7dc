"""Daphne's server, with the settings, the protocols and the end that this service needs."""

import asyncio
import logging
import signal
from typing import Any, Final

from daphne.server import Server, reactor  # type: ignore[import-untyped]
from twisted.internet.error import CannotListenError
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    globalLogBeginner,
)

from broadcast.application import make_application
from broadcast.config import Settings
from broadcast.consumers import OUTLET
from broadcast.contracts import frames
from broadcast.protocols import RequestFactory, SocketFactory
from broadcast.service import Service

log = logging.getLogger(__name__)

_BACKLOG: Final = 4096
_LAST_PATIENCE_SECONDS: Final = 8


class BroadcastServer(Server):  # type: ignore[misc]
    """Daphne's server for one `Service`."""

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
        _log_crashes_only()
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
        loop.run_until_complete(asyncio.wait([background], timeout=_LAST_PATIENCE_SECONDS))
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


def _log_crashes_only() -> None:
    # What Twisted and autobahn say below that is about single clients, and would quote their requests.
    critical: Any = LogLevelFilterPredicate(LogLevel.critical)
    observer: Any = FilteringLogObserver(STDLibLogObserver("twisted"), [critical])  # type: ignore[arg-type]
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
