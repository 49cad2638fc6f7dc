"""Daphne's server, with the settings, the protocols and the end that this service needs."""

import asyncio
import gc
import logging
import signal
import socket
from functools import partial
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

from broadcast.addresses import Origins
from broadcast.application import make_application
from broadcast.config import Settings
from broadcast.limits import Pace, Turnstile
from broadcast.protocols import RequestFactory, SocketFactory
from broadcast.publish import Answer, unavailable
from broadcast.service import Service
from broadcast.shell import OUTLET
from broadcast.web import too_many

log = logging.getLogger(__name__)

_BACKLOG: Final = 4096
_LAST_PATIENCE_SECONDS: Final = 8
_GARBAGE_THRESHOLDS: Final = (10_000, 250, 50)


class BroadcastServer(Server):  # type: ignore[misc]
    """Daphne's server for one `Service`."""

    def __init__(self, settings: Settings, service: Service) -> None:
        super().__init__(
            make_application(service),
            endpoints=["tcp"],
            ping_interval=settings.ping_seconds,
            ping_timeout=settings.ping_timeout_seconds,
            server_name="",
        )
        self.settings = settings
        self.service = service
        self.exit_code = 0
        self.origins = Origins(settings.trusted_proxies)
        self._addresses = Turnstile(
            at_most=settings.connections_per_address, per_second=settings.connects_per_second_per_address
        )
        # Ten times what the application lets pass: who sends that much is not misled, but hostile.
        self.frame_pace = Pace(10 * settings.frames_per_second, 30 * settings.topics_per_connection)
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = False

    def refuse(self, address: str | None) -> Answer | None:
        """Count one more connection of an address, and give None; or give the answer that refuses it."""
        answer = self._refuse(address)
        if answer is not None:
            self.service.metrics.refused.labels(str(answer.status)).inc()
        return answer

    def leave(self, address: str | None) -> None:
        """Be told that a connection of an address is gone."""
        if address is not None:
            self._addresses.leave(address)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Start the application for a connection; those that stay get their `Outlet` as an ASGI extension."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope["asgi"] = {"version": "3.0"}
        if hasattr(protocol, "make_outlet"):
            scope["extensions"] = {OUTLET: protocol.make_outlet(self.settings.send_buffer_bytes, self.service.turn)}
        running = self.application(scope, queue.get, partial(self.handle_reply, protocol))
        task = asyncio.get_event_loop().create_task(running)
        self._running.add(task)
        task.add_done_callback(partial(self._on_application_end, protocol))
        return queue

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Take what the application says to a client that may be gone."""
        protocol.handle_reply(message)

    def protocol_connected(self, protocol: Any) -> None:
        """Keep no list of protocols: each application tells when it has ended."""

    def protocol_disconnected(self, protocol: Any) -> None:
        """Keep no list of protocols."""

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
        self._look_after(loop, loop.time())
        _collect_less_garbage()
        reactor.run(installSignalHandlers=False)
        background.cancel()
        loop.run_until_complete(asyncio.wait([background], timeout=_LAST_PATIENCE_SECONDS))
        return self.exit_code

    def _refuse(self, address: str | None) -> Answer | None:
        service = self.service
        if service.draining:
            return unavailable("This process is leaving.")
        if not service.ready:
            return unavailable("The history is away.")
        refused = None if address is None else self._addresses.enter(address, service.now_ms())
        if refused is None:
            return None
        service.metrics.limited.labels(f"address_{refused.reason}").inc()
        return too_many(refused)

    def _on_application_end(self, protocol: Any, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.error("Exception inside application: %s", problem, exc_info=problem)
            protocol.handle_exception(problem)

    def _look_after(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        pinging, now = self.ws_factory.pinging, loop.time()
        while due <= now:
            pinging.tick(now)
            due += pinging.tick_seconds
        self.http_factory.sweep()
        loop.call_at(due, self._look_after, loop, due)

    def _make_factories(self) -> None:
        settings = self.settings
        self.http_factory = RequestFactory(self)
        self.ws_factory = SocketFactory(self)
        self.ws_factory.set_options(
            allowNullOrigin=True,
            openHandshakeTimeout=0,
            # Who is closed for being slow (4101) has to have the time to read that.
            closeHandshakeTimeout=settings.handshake_seconds,
            maxMessagePayloadSize=settings.frame_bytes,
            maxFramePayloadSize=settings.frame_bytes,
            # So that a client reads why (1002, 1007, 1009) instead of finding the connection gone.
            failByDrop=False,
        )

    def _listen(self) -> None:
        host, port = self.settings.host, self.settings.port
        try:
            listening = reactor.listenTCP(port, self.http_factory, backlog=_BACKLOG, interface=host)
        except CannotListenError as problem:
            raise SystemExit(f"broadcast: cannot listen on {host}:{port}: {problem.socketError}") from problem
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # Accepted sockets inherit it. Without it the kernel takes 4 MiB for a client that does not read.
            unsent = self.settings.kernel_buffer_bytes
            listening.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent)
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


def _collect_less_garbage() -> None:
    # What was loaded stays. A connection is some hundred objects that are no garbage, and leaves none: to look at
    # all of them every few hundred connections would take as long as the connections do. Each is looked at once, a few
    # milliseconds' worth at a time, and again only when there are millions more.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
