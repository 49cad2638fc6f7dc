"""
The door of the port: connections that POST to the bridge go to `broadcast.ingest`, all others to Daphne.

A connection is looked at once, by its first bytes. One that posts is taken from Twisted and given to asyncio, on whose
loop Twisted runs, and given back when it asks for something else.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

from daphne.server import reactor  # type: ignore[import-untyped]
from twisted.internet import protocol
from twisted.python.failure import Failure

from broadcast.entrance import Waiting
from broadcast.ingest import BridgeConnection, Flushing
from broadcast.requests import PREFIX
from broadcast.service import Service

log = logging.getLogger(__name__)


class Doorkeeper(protocol.Protocol):
    """
    Looks at how a connection begins.

    ``inner``: Daphne's protocol for it, with its own timeouts. ``take_over`` gets the connection, with what was read
    of it, if it is one of the bridge.
    """

    def __init__(self, inner: Any, take_over: Callable[[Any, bytes], None]) -> None:
        self._inner = inner
        self._take_over = take_over
        self._seen = b""

    def makeConnection(self, transport: Any) -> None:  # noqa: N802
        """Begin."""
        self.transport = transport
        self._inner.makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Decide as soon as can be."""
        seen = self._seen = self._seen + data
        if seen.startswith(PREFIX):
            # To Daphne's protocol it looks as if the connection were gone: it stops its clocks and lets go.
            self._inner.connectionLost(protocol.connectionDone)
            self._take_over(self.transport, seen)
        elif not PREFIX.startswith(seen):
            self.transport.protocol = self._inner  # type: ignore[union-attr]
            self._inner.dataReceived(seen)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:  # noqa: N802
        """Be told that it is gone before it said anything."""
        self._inner.connectionLost(reason)


class Door:
    """
    Moves connections between Twisted and asyncio.

    ``build_inner`` makes Daphne's protocol for an address; ``strangers`` are those who post, and have not shown yet
    that they may.
    """

    def __init__(self, service: Service, build_inner: Callable[[Any], Any], strangers: Waiting) -> None:
        self._service = service
        self._build_inner = build_inner
        self._strangers = strangers
        self._flushing = Flushing()
        self._moving: set[asyncio.Task[Any]] = set()

    def buildProtocol(self, addr: Any) -> Doorkeeper:  # noqa: N802
        """Make the protocol of one connection (as a Twisted factory does)."""
        return Doorkeeper(self._build_inner(addr), self._take_over)

    def _take_over(self, transport: Any, begun: bytes) -> None:
        transport.unregisterProducer()
        transport.stopReading()
        loop: asyncio.AbstractEventLoop = reactor._asyncioEventloop
        made = loop.connect_accepted_socket(
            lambda: BridgeConnection(self._service, begun, self._hand_back, self._flushing, self._strangers),
            transport.getHandle(),
        )
        task = loop.create_task(made)
        self._moving.add(task)
        task.add_done_callback(self._on_moved)

    def _on_moved(self, task: "asyncio.Task[Any]") -> None:
        self._moving.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.warning("A connection of the bridge was lost at the door", exc_info=problem)

    def _hand_back(self, transport: asyncio.Transport, begun: bytes) -> None:
        handle: socket.socket = transport.get_extra_info("socket").dup()
        transport.abort()
        receiver = _Receiver(self._build_inner)
        with handle, contextlib.suppress(OSError):
            # It raises when the client is gone already.
            reactor.adoptStreamConnection(handle.fileno(), handle.family, receiver)
        if receiver.protocol is not None:
            receiver.protocol.dataReceived(begun)


class _Receiver:
    """A Twisted factory for one connection."""

    def __init__(self, build: Callable[[Any], Any]) -> None:
        self._build = build
        self.protocol: Any = None

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        """Make the protocol, and keep it."""
        self.protocol = self._build(addr)
        return self.protocol
