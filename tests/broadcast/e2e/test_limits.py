"""Limits by address, by user and by connection, as clients of a real process meet them."""

import asyncio
import socket
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from broadcast.contracts import topics
from tests.broadcast.e2e.conftest import Start
from tests.support.broadcast_process import Broadcast, ticket

pytestmark = pytest.mark.e2e


async def come_from(process: Broadcast, user: str, address: str, *, path: str = "") -> int:
    """Try to connect through a proxy that says so; returns the status."""
    headers = {"Authorization": f"Bearer {ticket(user)}", "X-Forwarded-For": address}
    try:
        async with connect(f"ws://127.0.0.1:{process.port}/ws/{path}", additional_headers=headers) as client:
            await client.recv()
            return 101
    except InvalidStatus as refused:
        response = refused.response
    assert int(response.headers["Retry-After"]) >= 1
    return response.status_code


async def test_an_address_has_only_so_many_connections_and_the_next_one_has_its_own(start: Start, user: str):
    process = start(BROADCAST_CONNECTIONS_PER_ADDRESS=2, BROADCAST_CONNECTS_PER_SECOND_PER_ADDRESS=1000)
    headers = {"X-Forwarded-For": "6.6.6.6, 9.9.9.9", "Authorization": f"Bearer {ticket(user)}"}
    async with process.client("", additional_headers=headers), process.client("", additional_headers=headers):
        assert await come_from(process, user, "9.9.9.9") == 429
        assert await come_from(process, user, "8.8.8.8") == 101
        assert process.metric("coursehub_limited_total") == 1
    deadline = time.monotonic() + 5
    while await come_from(process, user, "9.9.9.9") != 101:
        assert time.monotonic() < deadline


async def test_an_address_that_connects_too_fast_is_told_when_to_come_back(start: Start, user: str):
    process = start(BROADCAST_CONNECTIONS_PER_ADDRESS=3, BROADCAST_CONNECTS_PER_SECOND_PER_ADDRESS=0.1)
    assert [await come_from(process, user, "9.9.9.9") for _ in range(4)] == [101, 101, 101, 429]


async def test_an_unusual_handshake_counts_and_is_refused_as_well(start: Start, user: str):
    process = start(BROADCAST_CONNECTIONS_PER_ADDRESS=1, BROADCAST_CONNECTS_PER_SECOND_PER_ADDRESS=0.1)
    # A character that the entrance leaves to autobahn.
    assert [await come_from(process, user, "9.9.9.9", path="?x='\"") for _ in range(2)] == [101, 429]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
        b"GET /ws/?x=\xa9 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n",
        b"GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nX-Name: \x85\r\n",
    ],
    ids=["upgrades", "query", "header"],
)
async def test_what_does_not_become_a_websocket_does_not_count_and_may_not_stay(
    start: Start, user: str, request_: bytes
):
    process = start(
        BROADCAST_CONNECTIONS_PER_ADDRESS=1,
        BROADCAST_CONNECTS_PER_SECOND_PER_ADDRESS=1000,
        BROADCAST_HTTP_IDLE_SECONDS=1,
    )
    with socket.create_connection(("127.0.0.1", process.port), timeout=10) as silent:
        silent.sendall(request_ + b"Connection: Upgrade\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n")
        assert silent.recv(4096).startswith(b"HTTP/1.1 4")
        assert await come_from(process, user, "9.9.9.9") == 101
        while await asyncio.to_thread(silent.recv, 4096):
            pass


async def test_who_speaks_for_others_must_be_trusted(start: Start, user: str):
    process = start(BROADCAST_TRUSTED_PROXIES="10.0.0.0/8", BROADCAST_CONNECTIONS_PER_ADDRESS=1)
    async with process.client(ticket(user)):
        assert await come_from(process, user, "9.9.9.9") == 429


async def test_a_user_who_connects_again_and_again_is_told_to_back_off(start: Start, user: str):
    process = start(BROADCAST_CONNECTIONS_PER_USER=2, BROADCAST_CONNECTS_PER_SECOND_PER_USER=0.1)
    for _ in range(2):
        async with process.client(ticket(user)):
            pass
    async with process.client(ticket(user), greet=False) as client:
        last, code = await client.closing()
        assert (last["code"], code) == (4102, 4102)
        assert last["retryAfterMs"] > 0


async def test_a_client_that_floods_frames_is_told_and_then_closed(start: Start, user: str, course: str):
    process = start(BROADCAST_FRAMES_PER_SECOND=1, BROADCAST_TOPICS_PER_CONNECTION=2)
    async with process.client(ticket(user)) as client, process.client(ticket(user, [course])) as other:
        await other.subscribe(course)
        for _ in range(20):
            await client.send("ping")
        heard = await client.receive_until("closing")
        assert [frame["type"] for frame in heard] == ["pong"] * 6 + ["error", "closing"]
        assert (heard[-2]["code"], heard[-1]["code"]) == ("rate_limited", 4103)
        await other.send("ping")
        assert (await other.receive())["type"] == "pong"


async def test_a_client_that_floods_pings_is_closed(start: Start, user: str):
    process = start(BROADCAST_FRAMES_PER_SECOND=1, BROADCAST_TOPICS_PER_CONNECTION=1)
    async with process.client(ticket(user)) as client:
        for _ in range(50):
            await client.socket.ping()
        last, code = await client.closing()
        assert (last["code"], code) == (4103, 4103)


def test_connections_that_say_nothing_keep_nobody_out(start: Start):
    process = start(BROADCAST_HTTP_CONNECTIONS=3)
    silent = [socket.create_connection(("127.0.0.1", process.port), timeout=5) for _ in range(5)]
    assert process.get("/healthz")[0] == 200
    with pytest.raises(ConnectionResetError):
        silent[0].recv(1)
    for each in silent:
        each.close()
    assert process.metric("coursehub_limited_total") >= 2


async def test_after_its_own_topic_a_connection_still_has_the_topics_it_may_have(start: Start, user: str, course: str):
    process = start(BROADCAST_TOPICS_PER_CONNECTION=1)
    async with process.client(ticket(user, [course])) as client:
        assert (await client.subscribe(course))["code"] == "too_many_topics"
        assert client.begun["topic"] == topics.user(user)
        assert process.metric("coursehub_limited_total") == 1
