"""The connection of one event stream: taken over from Twisted's HTTP once the request is read, and never given back."""

import asyncio
import contextlib
import socket
from http import HTTPStatus
from typing import Any, Final

from twisted.internet import protocol, tcp

from broadcast.contracts import streams
from broadcast.sending.lines import CLOSED
from broadcast.sending.turn import Turn
from broadcast.streams.outlet import StreamOutlet

_MOST_READ_BYTES: Final = 64 * 1024


def make_scope(request: Any) -> dict[str, Any]:
    """Make the ASGI scope of a request for an event stream."""
    headers = [(name.lower(), value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": streams.PATH,
        "raw_path": streams.PATH.encode(),
        "root_path": "",
        "query_string": request.uri.partition(b"?")[2],
        # As Daphne does: some proxies cannot tell X_Forwarded_For from X-Forwarded-For.
        "headers": [(name, value) for name, value in headers if b"_" not in name],
        "client": [request.client.host, request.client.port],
        "server": None,
    }


class StreamProtocol(protocol.Protocol):
    """
    An answer that goes on until somebody ends it.

    It is delimited by the end of the connection, not in chunks (RFC 9112, section 6.3): so a message is the same bytes
    here as in the protocol, and can be written in one go. ``address``: for which address it counts.
    """

    def __init__(self, server: Any, address: str | None) -> None:
        self._server = server
        self._address = address
        self._outlet: StreamOutlet
        self._read_bytes = 0
        self._ending: asyncio.TimerHandle | None = None

    def open(self, transport: Any, scope: dict[str, Any]) -> None:
        """Begin, with a request that was read."""
        transport.protocol = self
        self.makeConnection(transport)  # type: ignore[no-untyped-call]
        transport.setTcpNoDelay(True)
        self._notice_who_vanishes(transport)
        self._queue = self._server.create_application(self, scope)

    def make_outlet(self, capacity_bytes: int, turn: Turn) -> StreamOutlet:
        """Make the way out to this client."""
        transport: Any = self.transport
        direct = isinstance(transport, tcp.Connection) and not transport.TLS
        self._outlet = StreamOutlet(
            transport,
            turn=turn,
            socket=transport.fileno() if direct else CLOSED,
            # The answer to a request before this one may still be in there.
            is_idle=not direct or not (transport.dataBuffer or transport._tempDataBuffer),
            capacity_bytes=capacity_bytes,
            close_socket=lambda _: self._end(),
            resume_reading=lambda: None,
        )
        transport.resumeProducing()
        return self._outlet

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Take a message from the application (ASGI): the beginning of the answer, or the whole of it."""
        if not self._outlet.is_open:
            return
        if message["type"] == "http.response.start":
            self._outlet.put(_head(message))
            return
        self._outlet.put(message["body"])
        self._outlet.shut()
        self._end()

    def handle_exception(self, exception: BaseException) -> None:  # noqa: ARG002
        """Be told that the application failed."""
        self._abort()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take bytes from a client that has nothing to say."""
        self._read_bytes += len(data)
        if self._read_bytes > _MOST_READ_BYTES:
            self._abort()

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002, N802
        """Be told that the connection is gone."""
        self._outlet.lose()
        self._server.leave(self._address)
        if self._ending is not None:
            self._ending.cancel()
        self._queue.put_nowait({"type": "http.disconnect"})

    def _notice_who_vanishes(self, transport: Any) -> None:
        # There are no pings: heartbeats go out, and whoever acknowledges none of them for so long is gone.
        settings = self._server.settings
        patience_ms = int((settings.ping_seconds + settings.ping_timeout_seconds) * 1000)
        with contextlib.suppress(AttributeError, OSError):
            transport.getHandle().setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)

    def _end(self) -> None:
        transport: Any = self.transport
        transport.loseConnection()
        if transport.connected:
            # It may not read what is still on its way.
            seconds = self._server.settings.handshake_seconds
            self._ending = asyncio.get_running_loop().call_later(seconds, self._abort)

    def _abort(self) -> None:
        transport: Any = self.transport
        self._outlet.shut()
        transport.abortConnection()


def _head(message: dict[str, Any]) -> bytes:
    status = message["status"]
    lines = [b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())]
    lines += [b"%s: %s\r\n" % header for header in message["headers"]]
    return b"%sConnection: close\r\n\r\n" % b"".join(lines)
