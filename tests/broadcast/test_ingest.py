"""A connection of the bridge in this process; against a real one it is tried in `tests.broadcast.e2e.test_ingest`."""

import asyncio
import socket

import pytest

from broadcast.config import Settings
from broadcast.entrance import Waiting
from broadcast.ingest import BridgeConnection, Flushing
from broadcast.service import Service
from tests.support.broadcast_fakes import Network

POST = b"POST /broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


def _crash() -> int:
    raise ZeroDivisionError


async def test_a_post_that_crashes_is_answered_and_the_next_one_too(caplog: pytest.LogCaptureFixture):
    settings = Settings(
        redis_url="redis://127.0.0.1:1",
        channel_layer_urls=("redis://in-memory",),
        broadcast_secret="b",
        ticket_secret="t",
    )
    service = Service(settings, make_layer=Network().layer, now_ms=_crash)
    ours, theirs = socket.socketpair()
    strangers = Waiting(capacity=1, patience_seconds=1, on_cut=lambda: None)
    await asyncio.get_running_loop().connect_accepted_socket(
        lambda: BridgeConnection(service, b"", lambda *_: None, Flushing(), strangers), ours
    )
    reader, writer = await asyncio.open_connection(sock=theirs)
    for _ in range(2):
        writer.write(POST)
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readuntil(b"}}")
        assert head.startswith(b"HTTP/1.1 500 ") and b'"internal_error"' in body
    assert "A POST to the bridge failed" in caplog.text
    writer.close()
