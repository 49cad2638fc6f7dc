"""What is thrown at the service: near misses mostly, since what is far off is refused at the first look."""

import json
import struct
from typing import Any
from urllib.parse import urlencode

from hypothesis import strategies as st

from broadcast.contracts import tickets
from tests.support.broadcast_fakes import TOPIC
from tests.support.broadcast_process import TICKET_SECRET, event

USER = "01890a5d-ac96-774b-bcce-b302099a8057"
LONGEST_FRAME = 40_000

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TOPICS = st.sampled_from([TOPIC, f"user:{USER}", "course:", "course:x", "", "a" * 300]) | st.text(max_size=50)
SEQS = st.sampled_from([0, 1, 2, 2**53 - 1, 2**53, 2**64, -1, 1.0, True, None]) | st.integers() | JSON


def texts_of(shapes: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """JSON texts, whole or with something cut, put in or doubled."""
    whole = shapes.map(json.dumps)
    spoilt = st.builds(lambda text, at, more: text[: at % (len(text) + 1)] + more, whole, st.integers(0), st.text())
    return whole | spoilt | st.text()


FRAMES = texts_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["subscribe", "unsubscribe", "refresh", "ping", "pong", ""]) | JSON},
        optional={"topic": TOPICS | JSON, "since": SEQS, "ticket": st.text() | JSON, "more": JSON},
    )
    | JSON
)

CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "aud": st.just("coursehub.broadcast") | JSON,
        "sub": st.just(USER) | JSON,
        "iat": st.just(1_760_000_000.0) | JSON,
        "exp": st.just(4_000_000_000.0) | JSON,
        "topics": st.dictionaries(TOPICS, SEQS, max_size=4) | JSON,
    },
)


def sign(claims: dict[str, Any]) -> str:
    """Make a ticket that says this, with the right signature."""
    return tickets.jwt.encode(claims, TICKET_SECRET, algorithm="HS256")


def _spoil(ticket: str, at: int, more: str) -> str:
    at %= len(ticket) + 1
    return ticket[:at] + more + ticket[at + 1 :]


SIGNED = CLAIMS.map(sign)
TICKETS = SIGNED | st.builds(_spoil, SIGNED, st.integers(0), st.text(max_size=3)) | st.text()

EVENTS = st.builds(
    lambda base, more: {**base, **more},
    st.builds(event, st.just(TOPIC), st.none() | st.integers(1, 5)),
    st.fixed_dictionaries(
        {},
        optional={
            "topic": TOPICS | JSON,
            "seq": SEQS,
            "type": st.text(max_size=120) | st.just("access-revoked") | JSON,
            "timestamp": SEQS,
            "data": st.dictionaries(st.text(max_size=8), JSON, max_size=3) | JSON,
            "operationId": JSON,
            "courseId": JSON,
            "userId": JSON,
            "before": SEQS,
        },
    ),
)
BODIES = (
    texts_of(EVENTS | st.fixed_dictionaries({"events": st.lists(EVENTS, max_size=5) | JSON})).map(
        lambda text: text.encode(errors="surrogatepass")
    )
    | st.binary()
)

NAMES = st.sampled_from(
    [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Upgrade",
        "Connection",
        "Expect",
        "Cookie",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
        "Authorization",
        "X-CourseHub-Timestamp",
        "X-CourseHub-Signature",
        "X-Forwarded-For",
        "Last-Event-ID",
        "Content Length",
        "",
    ]
)
VALUES = st.sampled_from(
    [
        "x",
        "0",
        "1",
        "5",
        "-1",
        "4294967296",
        "99999999999999999999",
        "chunked",
        "gzip, chunked",
        "websocket",
        "Upgrade",
        "dGhlIHNhbXBsZSBub25jZQ==",
        "13",
        "8",
        "100-continue",
        "coursehub.v1, ticket.",
        "Bearer ",
        "v1=",
        "",
    ]
) | st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=20)
LINES = st.builds(
    "{} {} {}".format,
    st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "get", "", "PRI"]),
    st.sampled_from(
        ["/ws/", "/broadcast", "/events", "/metrics", "/healthz", "*", "http://x/ws/", "/ws/?since=-1", "/%00"]
    )
    | st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=20),
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", ""]),
)
CHUNKS = st.sampled_from(
    ["5\r\nhello\r\n0\r\n\r\n", "zz\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "5\r\nhel", "0\r\n\r\n", "5;x\r\nhello"]
)


def _request(line: str, headers: list[tuple[str, str]], end: str, body: bytes) -> bytes:
    head = "".join(f"{name}: {value}{end}" for name, value in headers)
    return f"{line}{end}{head}{end}".encode("latin-1") + body


REQUESTS = st.builds(
    _request,
    LINES,
    st.lists(st.tuples(NAMES, VALUES), max_size=8),
    st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r"]),
    CHUNKS.map(str.encode) | st.binary(max_size=200),
)
HTTP = st.lists(REQUESTS, min_size=1, max_size=3).map(b"".join) | st.binary(max_size=300)


def _frame(first: int, masked: bool, length: int | None, payload: bytes) -> bytes:
    size = len(payload) if length is None else length
    mask = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, mask | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, mask | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask | 127, size % 2**64)
    return head + (b"\0\0\0\0" if masked else b"") + payload


WIRE_FRAMES = st.builds(
    _frame,
    st.sampled_from([0x81, 0x82, 0x01, 0x80, 0x00, 0x88, 0x89, 0x8A, 0x08, 0xC1, 0xF1, 0x83, 0x8B])
    | st.integers(0, 255),
    st.sampled_from([True, True, True, False]),
    st.none() | st.sampled_from([0, 1, 125, 126, 65535, 65536, LONGEST_FRAME, 2**31, 2**63, 2**64 - 1]),
    FRAMES.map(lambda text: text.encode(errors="surrogatepass")[:LONGEST_FRAME]) | st.binary(max_size=130),
)
WIRES = st.lists(WIRE_FRAMES, min_size=1, max_size=6).map(b"".join) | st.binary(max_size=200)

POSITIONS = st.lists(st.builds("{}={}".format, TOPICS, SEQS), max_size=3).map(",".join) | st.text(max_size=40)
STREAMS = st.tuples(
    st.fixed_dictionaries(
        {},
        optional={
            "topics": st.lists(TOPICS, max_size=4).map(",".join),
            "lastEventId": POSITIONS,
            "ticket": TICKETS,
            "more": st.text(max_size=5),
        },
    ).map(urlencode)
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60),
    POSITIONS.map(lambda text: text.encode("utf-8", "replace").translate(None, b"\r\n\0")),
)
"""Requests for event streams: the query, and a ``Last-Event-ID``."""
