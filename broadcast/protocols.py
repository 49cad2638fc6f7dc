"""
Daphne's protocols, with what this service needs of them: bounds, refusals before the upgrade, and a way out.

`daphne.server` installs Twisted's asyncio reactor, so it is imported before anything else of Twisted.
"""

import asyncio
import re
import time
from collections import deque
from functools import cached_property
from typing import Any, Final

import daphne.server  # type: ignore[import-untyped]  # noqa: F401
from autobahn.wamp.types import TransportDetails
from autobahn.websocket.protocol import TrafficStats
from autobahn.websocket.protocol import WebSocketProtocol as Framing
from autobahn.websocket.types import ConnectionDeny
from autobahn.websocket.utf8validator import Utf8Validator
from daphne.http_protocol import HTTPFactory, WebRequest  # type: ignore[import-untyped]
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol  # type: ignore[import-untyped]
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.web import http

from broadcast import handshake
from broadcast.contracts import bridge, events, frames, streams
from broadcast.contracts.frames import CloseCode
from broadcast.doorkeeper import Door
from broadcast.entrance import Entrance, Waiting
from broadcast.handshake import Upgrade
from broadcast.outlet import Outlet
from broadcast.parcel import binary_frame, text_frame
from broadcast.pinging import Pinging
from broadcast.publish import Answer
from broadcast.sending.lines import CLOSED
from broadcast.sending.turn import Turn
from broadcast.streams import cors
from broadcast.streams.protocol import StreamProtocol, make_scope
from broadcast.web import NOT_FOUND, encode

_TOO_LARGE_BODY: Final = (
    b'{"success": false, "error": {"code": "payload_too_large", "message": "The body is larger than may be."}}'
)
_TOO_LARGE: Final = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_TOO_LARGE_BODY), _TOO_LARGE_BODY)
)
_MOST_DISCARDED_BYTES: Final = 16 * bridge.MAX_BODY_BYTES
_MOST_UNREAD_FRAMES: Final = 64
_FRAMES_A_TURN: Final = 32
"""Taken of one client before all others get their turn of the loop: about a millisecond's work."""
_ORIGIN: Final = re.compile(rb"https?://[^/?]+", re.IGNORECASE)
_PATH: Final = frames.PATH.encode()
_STREAM_PATH: Final = streams.PATH.encode()
_TOO_FAST: Final = text_frame(
    events.encode(frames.closing(CloseCode.TOO_FAST, reason="Too many frames.", retry_after_ms=30_000))
)


class Request(WebRequest):  # type: ignore[misc]
    """An HTTP request with a bounded body, upgraded only where and while there are WebSockets."""

    _received_bytes = 0
    _refused = False

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        """Take a request that is whole; of a target that says the host, too, only the rest counts (RFC 9112, 3.2.2)."""
        origin = _ORIGIN.match(path)
        super().requestReceived(command, path[origin.end() :] if origin else path, version)

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
        if self._wants_upgrade():
            if self.path == _PATH:
                return self._upgrade()
            if self.method == b"GET" and self.path != _STREAM_PATH:
                self._end_with(NOT_FOUND)
                return None
            # As an ordinary request it gets an ordinary answer.
            self.requestHeaders.removeHeader(b"upgrade")
        if self.path == _STREAM_PATH and self.method == b"GET":
            self._begin_stream()
            return None
        return super().process()

    def address(self) -> str | None:
        """Tell for which address this request counts."""
        forwarded_for = b",".join(self.requestHeaders.getRawHeaders(b"x-forwarded-for", []))
        origin: str | None = self.server.origins.of(self.client.host, forwarded_for.decode("latin-1"))
        return origin

    def _upgrade(self) -> Any:
        channel, address = self.channel, self.address()
        if (refusal := self.server.refuse(address)) is not None:
            self._end_with(refusal)
            return None
        self.server.ws_factory.next_address = address
        begun = super().process()
        if channel.transport.protocol is channel:
            # Daphne has found fault with the request: it was answered, and is no WebSocket that would leave one day.
            self.server.leave(address)
        else:
            channel.leave()
        return begun

    def _begin_stream(self) -> None:
        address, scope = self.address(), make_scope(self)
        if (refusal := self.server.refuse(address)) is None:
            self.channel.leave()
            # It serves no other, and each would hold the other.
            self.channel.requests.clear()
            stream = StreamProtocol(self.server, address)
            stream.open(self.channel.transport, scope)
        else:
            allowed = self.server.settings.cors_allowed_origins
            self._end_with(cors.allow(refusal, cors.headers(scope, allowed)))

    def _end_with(self, answer: Answer) -> None:
        self.channel.transport.write(encode(answer))
        self.channel.loseConnection()

    def _wants_upgrade(self) -> bool:
        # Daphne looks at the first one only.
        return bool(self.requestHeaders.getRawHeaders(b"upgrade", [b""])[0].lower() == b"websocket")

    def _refuse(self) -> None:
        # What still comes is read and thrown away: closing at once would lose the answer on its way.
        self._refused = True
        self.server.service.metrics.posts.count(413, 0, 0.0)
        self.requestHeaders.removeHeader(b"expect")
        self.channel.transport.write(_TOO_LARGE)


class Channel(http.HTTPChannel):
    """An HTTP connection. How long it may be silent is for its factory's `Waiting` to see, not a timer of its own."""

    requestFactory = Request  # noqa: N815
    timeOut = None  # noqa: N815
    factory: Any
    site: Any

    def connectionMade(self) -> None:  # noqa: N802
        """Begin."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.factory.channels.note(self.transport, time.monotonic())

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take bytes from the client."""
        self.factory.channels.note(self.transport, time.monotonic())
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802
        """Be told that the connection is gone."""
        self.leave()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def leave(self) -> None:
        """Be no longer among those that wait: the connection is becoming something else."""
        self.factory.channels.forget(self.transport)


class RequestFactory(HTTPFactory):  # type: ignore[misc]
    """Lets connections in, each by an `Entrance`, and makes what they turn out to be."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        settings = server.settings
        self.half_open = self._make_waiting(settings.http_connections, settings.handshake_seconds, "half_open")
        self.channels = self._make_waiting(settings.http_connections, settings.http_idle_seconds, "idle")
        # A connection of the bridge looks after its own time.
        strangers = self._make_waiting(settings.http_connections, settings.bridge_read_seconds, "half_open")
        self._door = Door(server.service, lambda _: Entrance(self, time.monotonic), strangers)

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        """Make the first protocol of one connection."""
        return self._door.buildProtocol(addr)

    def make_channel(self) -> Channel:
        """Make the protocol for HTTP."""
        channel = Channel()  # type: ignore[no-untyped-call]
        channel.factory = channel.site = self
        return channel

    def open_socket(self, transport: Any, upgrade: Upgrade, rest: bytes) -> None:
        """Let a WebSocket begin, or refuse it."""
        forwarded_for = upgrade.headers.get(b"x-forwarded-for", b"").decode("ascii")
        address = self.server.origins.of(transport.client[0], forwarded_for)
        if (refusal := self.server.refuse(address)) is None:
            self.server.ws_factory.open(transport, upgrade, rest, address)
        else:
            transport.write(encode(refusal))
            transport.loseConnection()

    def sweep(self) -> None:
        """Cut off who has been silent for too long."""
        now = time.monotonic()
        self.half_open.sweep(now)
        self.channels.sweep(now)

    def _make_waiting(self, capacity: int, patience_seconds: float, reason: str) -> Waiting:
        on_cut = self.server.service.metrics.limited.labels(reason).inc
        return Waiting(capacity=capacity, patience_seconds=patience_seconds, on_cut=on_cut)


class SocketProtocol(WebSocketProtocol):  # type: ignore[misc]
    """
    A WebSocket that hands its `Outlet` to the application, and reads no faster than the application does.

    autobahn sets some sixty attributes on each connection, and formats them for a log that is off; here those that
    hardly ever change are the class's, and the rest is made when it is needed. `SocketFactory` adds the options.
    """

    outlet: Outlet | None = None
    address: str | None = None
    """For which address it counts; None: for nobody's."""
    heard = True
    asked_at = 0.0
    slot = 0

    # What autobahn's WebSocketProtocol.__init__ and _connectionMade set.
    state = Framing.STATE_CONNECTING
    send_state = Framing.SEND_STATE_GROUND
    data = b""
    triggered = inside_message = False
    current_frame = None
    websocket_version = 13
    websocket_protocol_in_use = None
    websocket_extensions_in_use: Any = ()
    trafficStats: Any = TrafficStats()  # type: ignore[no-untyped-call]  # noqa: N815
    trackTimings = False  # noqa: N815
    trackedTimings = _perMessageCompress = None  # noqa: N815
    wasMaxFramePayloadSizeExceeded = wasMaxMessagePayloadSizeExceeded = False  # noqa: N815
    closedByMe = failedByMe = droppedByMe = wasClean = False  # noqa: N815
    wasServerConnectionDropTimeout = wasOpenHandshakeTimeout = wasCloseHandshakeTimeout = False  # noqa: N815
    wasServingFlashSocketPolicyFile = False  # noqa: N815
    wasNotCleanReason = localCloseCode = localCloseReason = remoteCloseCode = remoteCloseReason = None  # noqa: N815
    openHandshakeTimeoutCall = closeHandshakeTimeoutCall = None  # noqa: N815
    autoPingTimeoutCall = autoPingPending = autoPingPendingCall = autoPingPendingSent = None  # noqa: N815
    autoPingPendingSeq = 0  # noqa: N815
    _transport_details = TransportDetails()
    _valid_events = ("message",)

    server: Any = None
    application_queue: Any = None
    client_addr: Any = None
    _upgrade: Upgrade | None = None
    _reading = True
    _resuming = False
    _deaf = False
    _failing = _left = False
    _frames_whole_at_ms = 0.0

    def __init__(self) -> None:
        # Not autobahn's: see above.
        pass

    @cached_property
    def is_open(self) -> Any:
        """Be resolved when the handshake is over."""
        return Deferred()

    @property
    def is_closed(self) -> Any:
        """Be resolved when the connection is over: nobody waits for it, and kept it would hold the connection."""
        return Deferred()

    @cached_property
    def send_queue(self) -> deque[Any]:
        """Hold what is to be sent in pieces."""
        return deque()

    @cached_property
    def utf8validator(self) -> Any:
        """Check text that comes in pieces."""
        return Utf8Validator()  # type: ignore[no-untyped-call]

    def open(self, transport: Any, upgrade: Upgrade, rest: bytes, address: str | None) -> None:
        """Begin, with the request of a handshake that was found good, and what came after it."""
        self._upgrade, self.data, self.address = upgrade, rest, address
        transport.protocol = self
        self.makeConnection(transport)
        headers = [(name, value) for name, value in upgrade.headers.items() if name != b"daphne-root-path"]
        host, port = transport.client[:2]
        scope = {
            "type": "websocket",
            "path": frames.PATH,
            "raw_path": _PATH,
            "root_path": "",
            "headers": headers,
            "query_string": upgrade.query,
            "client": [host, port],
            "server": None,
            "subprotocols": upgrade.subprotocols,
        }
        self.application_queue = self.server.create_application(self, scope)
        self.application_queue.put_nowait({"type": "websocket.connect"})

    def make_outlet(self, capacity_bytes: int, turn: Turn) -> Outlet:
        """Make the way out to this client."""
        transport = self.transport
        # With TLS in the process the socket takes only what the transport has encrypted.
        direct = isinstance(transport, tcp.Connection) and not transport.TLS
        self.outlet = Outlet(
            transport,
            turn=turn,
            socket=transport.fileno() if direct else CLOSED,
            # The answer to a request before this one may still be in there.
            is_idle=not direct or not (transport.dataBuffer or transport._tempDataBuffer),
            capacity_bytes=capacity_bytes,
            close_socket=self.serverClose,
            resume_reading=self._resume_reading,
        )
        return self.outlet

    def connectionMade(self) -> None:  # noqa: N802
        """Begin."""
        self.server = self.factory.server_class
        self.transport.setTcpNoDelay(True)
        self.factory.pinging.add(self)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take bytes from the client."""
        self.heard = True
        self._dataReceived(data)

    def processHandshake(self) -> None:  # noqa: N802
        """Read the request, if that was not done at the entrance."""
        if self._upgrade is None:
            super().processHandshake()

    def onConnect(self, request: Any) -> Any:  # noqa: N802
        """Take a handshake that autobahn has read. The subprotocols it lets pass Daphne reads as ASCII."""
        if not request.headers.get("sec-websocket-protocol", "").isascii():
            raise ConnectionDeny(ConnectionDeny.BAD_REQUEST, "a subprotocol is not ASCII")  # type: ignore[no-untyped-call]
        return super().onConnect(request)

    def serverAccept(self, subprotocol: str | None = None) -> None:  # noqa: N802
        """Open the WebSocket, as the application wants it."""
        if self._upgrade is None:
            super().serverAccept(subprotocol)
            return
        self.websocket_protocol_in_use = subprotocol
        answer = handshake.accept(self._upgrade, subprotocol)
        if self.outlet is not None:
            # With the first frames, if they come in the same turn of the loop.
            self.outlet.write(answer)
        else:
            self.sendData(answer)
        self._upgrade = None
        self.state = self.STATE_OPEN
        if self.data:
            self.consumeData()

    def consumeData(self) -> None:  # noqa: N802
        """Take the frames that have come: so many, then all others have their turn."""
        if self.state not in (self.STATE_OPEN, self.STATE_CLOSING):
            super().consumeData()
            return
        for _ in range(_FRAMES_A_TURN):
            if not self._reading or self.state == self.STATE_CLOSED or not self.processData():
                return
        self._pause_reading()
        self._resume_reading()

    def onFrameBegin(self) -> Any:  # noqa: N802
        """Take the head of a frame. That of a message the application counts; here are pings and pieces, too."""
        whole_at_ms = self.server.frame_pace.next(self._frames_whole_at_ms, time.monotonic() * 1000)
        if whole_at_ms is not None:
            self._frames_whole_at_ms = whole_at_ms
        elif self.outlet is not None and self.outlet.is_open:
            self.server.service.metrics.limited.labels("frames").inc()
            self.server.service.metrics.closed.labels(str(int(CloseCode.TOO_FAST))).inc()
            self.outlet.close(CloseCode.TOO_FAST, _TOO_FAST)
        return super().onFrameBegin()

    def onOpen(self) -> None:  # noqa: N802
        """Be told that the WebSocket is open."""
        if self.outlet is not None and self._perMessageCompress is not None:
            self.outlet.detour()

    _onOpen = onOpen  # noqa: N815

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        """Pass a message to the application, which wants none once the connection is closing."""
        if self.state != self.STATE_OPEN:
            return
        message = {"bytes": payload} if isBinary else {"text": payload.decode()}
        self.application_queue.put_nowait({"type": "websocket.receive", **message})
        if self._is_behind():
            self._pause_reading()

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Take a message from the application; those to send go out where all else does."""
        if self.state == self.STATE_CLOSED:
            return
        if message["type"] != "websocket.send" or self.outlet is None:
            super().handle_reply(message)
        elif (text := message.get("text")) is not None:
            self.outlet.write(text_frame(text.encode()))
        else:
            self.outlet.write(binary_frame(message["bytes"]))

    def _fail_connection(self, code: int = 1001, reason: str = "going away") -> None:
        if self.state != self.STATE_OPEN:
            if not self._failing:
                super()._fail_connection(code, reason)
            return
        # What came before the breach is answered first: the application was woken for it, and runs before this does.
        # What comes after is not even looked at.
        self._failing = self.failedByMe = True
        self.state = self.STATE_CLOSING
        asyncio.get_running_loop().call_soon(self._fail_now, code, reason)

    def _fail_now(self, code: int, reason: str) -> None:
        self._failing = False
        if self.state == self.STATE_CLOSING:
            self.state = self.STATE_OPEN
            self.server.service.metrics.closed.labels(str(code)).inc()
            super()._fail_connection(code, reason)
            if self._left:
                self.dropConnection()

    def dropConnection(self, abort: bool = False) -> None:  # noqa: N802
        """
        Drop the connection.

        One that is about to be told why only then: autobahn takes an end that is a breach for the answer to ours.
        """
        if self._failing:
            self._left = True
        else:
            super().dropConnection(abort)

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:  # noqa: ARG002, N802
        """Send what is not the application's: the handshake, pings and pongs, the end."""
        if self.outlet is not None and self.outlet.is_open:
            self.outlet.pass_on(data)
        else:
            self.transport.write(data)

    def serverClose(self, code: int | None = None) -> None:  # noqa: N802
        """Close. From who sends too much nothing more is read: not even the answer to this is worth the rest."""
        if code == CloseCode.TOO_FAST:
            self._deaf = True
            self._pause_reading()
        super().serverClose(code)

    def sendCloseFrame(self, *args: Any, **kwargs: Any) -> None:  # noqa: N802
        """Send a close frame, after which nothing else may follow (RFC 6455, section 5.5.1)."""
        if self.outlet is not None:
            self.outlet.settle()
            self.outlet.shut()
        super().sendCloseFrame(*args, **kwargs)
        # The answer to it has to be read, too.
        self._resume_reading()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        """Be told that the connection is gone."""
        if self.outlet is not None:
            self.outlet.lose()
        self.factory.pinging.remove(self)
        self.server.leave(self.address)
        Framing._connectionLost(self, reason)

    def onClose(self, wasClean: bool, code: int | None, reason: Any) -> None:  # noqa: ARG002, N802, N803
        """Tell the application."""
        if self.application_queue is not None:
            self.application_queue.put_nowait({"type": "websocket.disconnect", "code": code})

    def ask(self) -> None:
        """Ask the client whether it is there."""
        self.sendPing()

    def give_up(self) -> None:
        """Drop a client that does not answer, unless it is us who do not listen."""
        if self._reading:
            self.server.service.metrics.closed.labels("silent").inc()
            self.dropConnection(abort=True)

    def handle_exception(self, exception: BaseException) -> None:
        """Be told that the application failed."""
        if self.state == self.STATE_CONNECTING:
            self.transport.abortConnection()
        else:
            super().handle_exception(exception)

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self.transport.pauseProducing()

    def _resume_reading(self) -> None:
        # Not at once: the application would get frame after frame, and nobody else a turn.
        if not self._reading and not self._resuming:
            self._resuming = True
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        self._resuming = False
        if self._deaf or self._is_behind() or self.state == self.STATE_CLOSED:
            return
        self._reading = True
        self.consumeData()
        if self._reading:
            self.transport.resumeProducing()

    def _is_behind(self) -> bool:
        # Whoever takes a message from the queue has reading resumed.
        unread: int = self.application_queue.qsize()
        return self.state == self.STATE_OPEN and unread >= _MOST_UNREAD_FRAMES


class SocketFactory(WebSocketFactory):  # type: ignore[misc]
    """Makes a `SocketProtocol` for each upgrade, and asks them in turn whether they are still there."""

    def __init__(self, server: Any) -> None:
        super().__init__(server, server="")
        self.next_address: str | None = None
        # A hundred slots a second: when thousands vanish together, the others wait for a few goodbyes at a time.
        slots = min(2_000, max(20, int(100 * server.ping_interval)))
        self.pinging = Pinging(period_seconds=server.ping_interval, timeout_seconds=server.ping_timeout, slots=slots)

    def set_options(self, **options: Any) -> None:
        """Set autobahn's options, once and for all connections."""
        self.setProtocolOptions(**options)
        chosen = {name: getattr(self, name) for name in SocketProtocol.CONFIG_ATTRS}
        self.protocol = type("SocketProtocol", (SocketProtocol,), {**chosen, "factory": self})

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        """Make the protocol of a connection that autobahn shakes hands with, for `next_address`."""
        protocol = super().buildProtocol(addr)
        protocol.address, self.next_address = self.next_address, None
        return protocol

    def open(self, transport: Any, upgrade: Upgrade, rest: bytes, address: str | None) -> None:
        """Begin a WebSocket whose request was found good."""
        self.protocol().open(transport, upgrade, rest, address)
