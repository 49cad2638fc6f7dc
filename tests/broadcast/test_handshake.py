"""The opening handshake: plain requests are read, everything else is left to those who know more."""

import pytest

from broadcast import handshake

PLAIN = {
    "Host": "127.0.0.1:8080",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def head(line: str = "GET /ws/ HTTP/1.1", *more: str, **changes: str | None) -> bytes:
    """Write a request's head; a header that is None is left out."""
    headers = {**PLAIN, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [line, *(f"{name}: {value}" for name, value in headers.items() if value is not None), *more]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def test_the_example_of_the_rfc_gets_the_answer_of_the_rfc():
    upgrade = handshake.read(head())
    assert upgrade is not None
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in handshake.accept(upgrade, None)


def test_query_headers_and_subprotocols_are_read():
    request = head(
        "GET /ws/?since=3&x HTTP/1.1", Sec_WebSocket_Protocol="coursehub.v1 , ticket.a-b_c.d", X_Any=" thing "
    )
    upgrade = handshake.read(request)
    assert upgrade is not None
    assert (upgrade.query, upgrade.headers[b"x-any"]) == (b"since=3&x", b"thing")
    assert upgrade.subprotocols == ["coursehub.v1", "ticket.a-b_c.d"]
    assert b"\r\nSec-WebSocket-Protocol: coursehub.v1\r\n" in handshake.accept(upgrade, "coursehub.v1")


@pytest.mark.parametrize("origin", ["null", "https://example.com", "http://localhost:3000"])
def test_browsers_say_where_they_come_from(origin: str):
    assert handshake.read(head(Origin=origin)) is not None


@pytest.mark.parametrize(
    "request_head",
    [
        head("POST /ws/ HTTP/1.1"),
        head("GET /ws/ HTTP/1.0"),
        head("GET /ws/#x HTTP/1.1"),
        head("GET /ws/?\xe9 HTTP/1.1"),
        head("GET /ws HTTP/1.1"),
        head(Host=None),
        head(Host="a b"),
        head(Upgrade="h2c"),
        head(Connection="keep-alive"),
        head(Sec_WebSocket_Version="8"),
        head(Sec_WebSocket_Key="short"),
        head(Sec_WebSocket_Key="!GhlIHNhbXBsZSBub25jZQ=="),
        head(Origin="example.com"),
        head(Sec_WebSocket_Protocol="a, a"),
        head(Sec_WebSocket_Protocol="a,,b"),
        head(Content_Length="3"),
        head(Transfer_Encoding="chunked"),
        head("GET /ws/ HTTP/1.1", "Host: again"),
        head("GET /ws/ HTTP/1.1", "no colon"),
        head("GET /ws/ HTTP/1.1", " folded: line"),
        head("GET /ws/ HTTP/1.1", "a_b: underscore"),
        head("GET /ws/ HTTP/1.1", "X: \x00"),
    ],
)
def test_what_is_unusual_is_left_to_others(request_head: bytes):
    assert handshake.read(request_head) is None


def test_a_head_ends_with_an_empty_line():
    assert handshake.head_length(head()[:-1]) == 0
    assert handshake.head_length(head() + b"more") == len(head())
