"""
HTTP/1.1 for the bridge, without I/O: bytes in, whole POSTs out.

llhttp (Node's parser, through httptools) reads each head and body in its strict mode. Here is only what it leaves to
its user: where a request begins, what it may cost, and what is not for the bridge at all.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import httptools

from broadcast.contracts import bridge

PREFIX: Final = f"POST {bridge.PATH} ".encode()
"""How a request to the bridge begins."""

_HOSTS: Final = {"1.0": 0, "1.1": 1}
"""How many Host headers a request has at least, by the version of HTTP."""
MAX_HEAD_BYTES: Final = 16 * 1024
_MOST_DISCARDED_BYTES: Final = 16 * bridge.MAX_BODY_BYTES
_TIMESTAMP: Final = bridge.TIMESTAMP_HEADER.lower().encode()
_SIGNATURE: Final = bridge.SIGNATURE_HEADER.lower().encode()
_HOST: Final = b"host"


class Post(NamedTuple):
    """A whole POST; ``keep_alive``: another may follow on its connection."""

    body: bytes
    timestamp: str
    signature: str
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class Expects:
    """The client waits to be told that its body is wanted (``Expect: 100-continue``)."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """What begins here is no POST to the bridge; ``data`` is all of it that came."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """This cannot be read; nothing that follows counts, and the connection is to be closed."""

    status: int
    code: str
    message: str


Found = Post | Expects | Foreign | Refused

_TOO_LARGE: Final = Refused(413, "payload_too_large", "The body is larger than may be.")
_LONG_HEAD: Final = Refused(431, "validation_error", "The headers are larger than may be.")
_NOT_HTTP: Final = Refused(400, "validation_error", "This is not a request of HTTP/1.1.")


class Reader:
    """
    The requests of one connection, in order.

    Give it what comes with `feed`, and take out what it found with `next` until that returns None. After `Refused` it
    only counts what it throws away.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._buffer = b""
        self._headers: dict[bytes, bytes] = {}
        self._host_count = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._has_head = self._in_body = self._complete = self._overrun = self._refused = False
        self._keep_alive = self._upgrades = False

    @property
    def waiting_bytes(self) -> int:
        """How much came that was not looked at yet."""
        return len(self._buffer)

    @property
    def is_between(self) -> bool:
        """True when no request has begun that is not over."""
        return not (self._in_body or self._buffer or self._refused)

    @property
    def is_hopeless(self) -> bool:
        """True when so much had to be thrown away that the client cannot be meaning well."""
        return self._refused and self._body_bytes > _MOST_DISCARDED_BYTES

    def feed(self, data: bytes) -> None:
        """Take what came."""
        if self._refused:
            self._body_bytes += len(data)
        else:
            self._buffer = self._buffer + data if self._buffer else data

    def next(self) -> Found | None:
        """Find the next thing in what came; None: more has to come first."""
        if self._refused or not self._buffer:
            return None
        found = self._read_body() if self._in_body else self._read_head()
        if isinstance(found, Refused):
            self._refused = True
            self._buffer = b""
            self._body.clear()
        return found

    def _read_head(self) -> Found | None:
        buffer = self._buffer
        if not buffer.startswith(PREFIX[: len(buffer)]):
            self._buffer = b""
            return Foreign(buffer)
        end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES) + 4
        if end == 3:
            return _LONG_HEAD if len(buffer) >= MAX_HEAD_BYTES else None
        self._headers = {}
        self._host_count = self._body_bytes = 0
        self._has_head = self._complete = self._upgrades = False
        if not (self._parse(buffer[:end]) and self._has_head):
            return _NOT_HTTP
        if self._upgrades:
            self._buffer = b""
            return Foreign(buffer)
        self._in_body, self._buffer = True, buffer[end:]
        return self._begin_body()

    def _begin_body(self) -> Found | None:
        if int(self._headers.get(b"content-length", b"0")) > bridge.MAX_BODY_BYTES:
            return _TOO_LARGE
        if self._complete or self._buffer:
            return self._read_body()
        return Expects() if self._headers.get(b"expect", b"").lower() == b"100-continue" else None

    def _read_body(self) -> Found | None:
        if not self._complete:
            length = self._headers.get(b"content-length")
            missing = len(self._buffer) if length is None else int(length) - self._body_bytes
            piece, self._buffer = self._buffer[:missing], self._buffer[missing:]
            if not self._parse(piece):
                return _NOT_HTTP
        if self._body_bytes > bridge.MAX_BODY_BYTES:
            return _TOO_LARGE
        return self._finish() if self._complete else None

    def _finish(self) -> Post:
        post = Post(
            b"".join(self._body),
            self._headers.get(_TIMESTAMP, b"").decode("latin-1"),
            self._headers.get(_SIGNATURE, b"").decode("latin-1"),
            # What followed a chunked body in the same piece was read already, and is lost.
            self._keep_alive and not self._overrun,
        )
        self._body = []
        self._in_body = False
        return post

    def _parse(self, data: bytes) -> bool:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrades = True
        except httptools.HttpParserError:
            return self._complete
        return True

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Be told that a request begins."""
        self._overrun = self._in_body

    def on_header(self, name: bytes, value: bytes) -> None:
        """Be told a header, or what looks like one after a chunked body and does not count."""
        if not self._has_head:
            key = name.lower()
            self._headers[key] = value
            self._host_count += key == _HOST

    def on_headers_complete(self) -> None:
        """Be told that the head is over."""
        # RFC 9112, section 3.2: one Host, which only HTTP/1.0 may leave out.
        self._has_head = _HOSTS.get(self._parser.get_http_version(), 2) <= self._host_count <= 1
        self._keep_alive = self._parser.should_keep_alive()
        self._upgrades = self._parser.should_upgrade()

    def on_body(self, piece: bytes) -> None:
        """Be told a piece of the body."""
        if self._overrun:
            return
        self._body_bytes += len(piece)
        if self._body_bytes <= bridge.MAX_BODY_BYTES:
            self._body.append(piece)

    def on_message_complete(self) -> None:
        """Be told that a request is over."""
        self._complete = True
