"""
The opening handshake of a WebSocket (RFC 6455, section 4.2), for requests as nearly every client sends them.

No I/O. Whatever is unusual in a request, be it an error or not, is left to Twisted and autobahn, which answer it: so
there is one way to be refused, and this one has no opinions. Why it is here at all: docs/decisions/014-handshake.md.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from broadcast.contracts import frames

_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_END: Final = b"\r\n\r\n"
_PATH: Final = frames.PATH.encode()
_REQUEST_LINE: Final = re.compile(rb"GET (%s)(?:\?([!-\"$-~]*))? HTTP/1\.1" % re.escape(_PATH))
_NAME: Final = re.compile(rb"[A-Za-z0-9-]+")
_VALUE: Final = re.compile(rb"[\t -~]*")
_HOST: Final = re.compile(rb"[A-Za-z0-9.-]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
_ORIGIN: Final = re.compile(rb"https?://[A-Za-z0-9.-]+(?::\d{1,5})?")
_SUBPROTOCOLS: Final = re.compile(rb"[A-Za-z0-9._~-]+(?:[ \t]*,[ \t]*[A-Za-z0-9._~-]+)*")
_BODY_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding", b"expect"})

PREFIX: Final = b"GET " + _PATH
"""What a request for a WebSocket begins with."""

LONGEST_HEAD: Final = 16_384
"""As Twisted's: a head that has not ended by then is left to it."""


@dataclass(slots=True)
class Upgrade:
    """A request to open a WebSocket: its query, its headers by their names in lower case, what it offers."""

    query: bytes
    headers: dict[bytes, bytes]
    subprotocols: list[str]


def head_length(data: bytes) -> int:
    """Tell how long the head of a request is, with the empty line that ends it; 0: it has not ended."""
    end = data.find(_END)
    return end + len(_END) if end >= 0 else 0


def read(head: bytes) -> Upgrade | None:
    """Read a request's head; None: it is unusual, and for others to answer."""
    first, *lines = head[: -len(_END)].split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(first)
    headers = _read_headers(lines)
    if request is None or headers is None or not _is_plain(headers):
        return None
    offered = headers.get(b"sec-websocket-protocol")
    subprotocols = [] if offered is None else [name.strip() for name in offered.decode("ascii").split(",")]
    if len(set(subprotocols)) < len(subprotocols):
        return None
    return Upgrade(request[2] or b"", headers, subprotocols)


def accept(upgrade: Upgrade, subprotocol: str | None) -> bytes:
    """Make the answer that opens the WebSocket. No extension is ever agreed to."""
    digest = hashlib.sha1(upgrade.headers[b"sec-websocket-key"] + _MAGIC, usedforsecurity=False).digest()
    selected = b"" if subprotocol is None else b"Sec-WebSocket-Protocol: %s\r\n" % subprotocol.encode("ascii")
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
        b"%sSec-WebSocket-Accept: %s\r\n\r\n" % (selected, base64.b64encode(digest))
    )


def _read_headers(lines: list[bytes]) -> dict[bytes, bytes] | None:
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            return None
        headers[name.lower()] = value.strip(b" \t")
    # One header twice may mean much or nothing; that it is a list is for those who know each header.
    return headers if len(headers) == len(lines) else None


def _is_plain(headers: dict[bytes, bytes]) -> bool:
    origin, offered = headers.get(b"origin"), headers.get(b"sec-websocket-protocol")
    return (
        headers.get(b"upgrade", b"").lower() == b"websocket"
        and b"upgrade" in [token.strip() for token in headers.get(b"connection", b"").lower().split(b",")]
        and headers.get(b"sec-websocket-version") == b"13"
        and _KEY.fullmatch(headers.get(b"sec-websocket-key", b"")) is not None
        and _HOST.fullmatch(headers.get(b"host", b"")) is not None
        and (origin is None or origin == b"null" or _ORIGIN.fullmatch(origin) is not None)
        and (offered is None or _SUBPROTOCOLS.fullmatch(offered) is not None)
        and _BODY_HEADERS.isdisjoint(headers)
    )
