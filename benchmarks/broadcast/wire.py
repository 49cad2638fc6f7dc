"""What the load generator sends, made ready here: handshakes, client frames, and posts of events."""

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EVENT_BYTES = 200
"""How long every event is that is delivered, if nothing else is said."""
_LOOPBACK = (127 << 24) + 1
_CLIENTS_AN_ADDRESS = 10_000
_KEY = base64.b64encode(b"the load tester ").decode()


@dataclass(frozen=True, slots=True)
class Event:
    """
    One event on a topic, which is a UUID here. ``number``: its own among all of a run.

    ``seq`` None: progress, each of an operation of its own so that none replaces another.
    """

    topic: str
    number: int
    seq: int | None
    size: int = EVENT_BYTES

    def envelope(self) -> dict[str, object]:
        """Make the event as clients get it, ``size`` bytes long."""
        event: dict[str, object] = {
            "type": "upload-progress" if self.seq is None else "chapter-update-complete",
            "courseId": self.topic,
            "operationId": f"operation-{self.number:010}",
            "timestamp": 1_760_000_000_000,
        }
        if self.seq is not None:
            event["seq"] = self.seq
        data = {"n": f"{self.number:010}", "title": ""}
        length = len(encode(event | {"data": data}))
        return event | {"data": data | {"title": "x" * (self.size - length)}}


def encode(value: object) -> bytes:
    """Encode as JSON without white space."""
    return json.dumps(value, separators=(",", ":")).encode()


def topic(number: int, kind: int = 0) -> str:
    """Name a topic: a UUID that tells its number."""
    return f"{number:08x}-0000-7000-8000-{kind:012x}"


@dataclass(frozen=True, slots=True)
class Opening:
    """
    How one client connects.

    ``frames`` is what it sends when it is connected, and ``controls`` how many frames that are no events it then gets
    until it is ready. ``seen`` is the seq since which it resumes, ``replay`` how many events that has to bring.
    ``port`` 0: that of all the others.
    """

    request: bytes
    frames: bytes = b""
    controls: int = 0
    seen: int | None = None
    replay: int = 0
    port: int = 0

    def pack(self, number: int) -> bytes:
        """Write it for the load generator, with an address for the ``number``-th client."""
        address = _LOOPBACK + number // _CLIENTS_AN_ADDRESS
        seen = 0 if self.seen is None else self.seen + 1
        sizes = len(self.request), len(self.frames)
        return (
            struct.pack("=7I", address, self.port, self.controls, self.replay, seen, *sizes)
            + self.request
            + self.frames
        )


@dataclass(frozen=True, slots=True)
class Post:
    """One HTTP request that posts the events ``first`` … ``first + count - 1``, and how many deliveries follow."""

    request: bytes
    first: int
    count: int
    deliveries: int

    def pack(self) -> bytes:
        """Write it for the load generator."""
        return struct.pack("=4I", len(self.request), self.first, self.count, self.deliveries) + self.request


def upgrade(path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Make a WebSocket handshake."""
    own = {"Host": "127.0.0.1", "Upgrade": "websocket", "Connection": "Upgrade"}
    own |= {"Sec-WebSocket-Key": _KEY, "Sec-WebSocket-Version": "13", **(headers or {})}
    return _head(f"GET {path} HTTP/1.1", own)


def get(path: str, headers: Mapping[str, str]) -> bytes:
    """Make a request for a path."""
    return _head(f"GET {path} HTTP/1.1", {"Host": "127.0.0.1", **headers})


def post(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """Make a POST."""
    return (
        _head(f"POST {path} HTTP/1.1", {"Host": "127.0.0.1", "Content-Length": str(len(body)), **(headers or {})})
        + body
    )


def client_frames(*values: object) -> bytes:
    """Make a client's text frames, masked with zeros, which is allowed (RFC 6455, section 5.3) and spares work."""
    return b"".join(_client_frame(encode(value)) for value in values)


def pack_all(items: Sequence[bytes]) -> bytes:
    """Write a file of packed openings or posts."""
    return struct.pack("=I", len(items)) + b"".join(items)


def _client_frame(payload: bytes) -> bytes:
    size = len(payload)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0x80 | 126, size)
    return head + bytes(4) + payload


def _head(first: str, headers: Mapping[str, str]) -> bytes:
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()
