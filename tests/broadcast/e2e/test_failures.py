"""What dies, hangs, forgets or leaves, with clients looking on."""

import asyncio
import json
import signal
import socket
import time
import uuid

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from broadcast.contracts import topics
from tests.broadcast.e2e.conftest import Start
from tests.support.broadcast_process import Client, event, revocation, ticket
from tests.support.broadcast_valkey import Valkey

pytestmark = pytest.mark.e2e


async def test_a_client_of_one_process_hears_what_was_posted_to_another(start: Start, user: str, course: str):
    first, second = start(), start()
    async with first.client(ticket(user, [course])) as client, second.client(ticket(user, [course])) as other:
        await client.subscribe(course, 0)
        await other.subscribe(course, 0)
        for seq in range(1, 101):
            (first if seq % 2 else second).post(event(course, seq))
        for each in (client, other):
            assert [e["seq"] for e in await each.receive_events(100)] == list(range(1, 101))


async def test_access_withdrawn_reaches_every_process_within_a_second(start: Start, user: str, course: str):
    first, second = start(), start()
    async with first.client(ticket(user, [course])) as client:
        await client.subscribe(course)
        started = time.monotonic()
        second.post(revocation(user, course, int(time.time() * 1000)))
        assert (await client.receive_until("unsubscribed"))[-1]["code"] == "access_withdrawn"
        assert time.monotonic() - started < 1


async def test_a_process_that_starts_later_knows_what_was_withdrawn(start: Start, user: str, course: str):
    old = ticket(user, [course])
    start().post(revocation(user, course, int(time.time() * 1000)))
    async with start().client(old) as client:
        assert course not in client.welcome["topics"]


async def test_kill_9_of_a_process_loses_nothing_for_who_resumes_on_the_other(start: Start, user: str, course: str):
    first, second = start(), start()
    own = topics.user(user)
    async with first.client(ticket(user, {course: 0})) as client:
        await client.subscribe(course, 0)
        first.post(event(course, 1), event(course, 2), event(own, 1))
        assert len(await client.receive_events(3)) == 3
        first.stop()
        await client.closing()
    second.post(event(course, 3), event(own, 2), event(course, 4))
    async with second.client(ticket(user, {course: 4}), since=1) as client:
        assert client.begun["replayed"] == 1
        assert (await client.receive_events(1))[0]["seq"] == 2
        assert (await client.subscribe(course, 2))["replayed"] == 2
        assert [e["seq"] for e in await client.receive_events(2)] == [3, 4]


async def test_flushed_redis_means_resync_and_not_silence(start: Start, own_valkey: Valkey, user: str, course: str):
    broadcast = start()
    async with broadcast.client(ticket(user, {course: 0})) as client:
        await client.subscribe(course, 0)
        broadcast.post(event(course, 1), event(course, 2))
        await client.receive_events(2)
        own_valkey.client.flushall()
        assert await client.receive_resyncs(2) == {topics.user(user): 0, course: 2}
        assert (await client.subscribe(course, 2))["type"] == "subscribed"
        assert broadcast.post(event(course, 3)) == (202, {"accepted": 1, "duplicates": 0})
        assert (await client.receive_events(1))[0]["seq"] == 3


async def test_a_flush_between_two_posts_is_noticed_by_the_second(
    start: Start, own_valkey: Valkey, user: str, course: str
):
    broadcast = start(BROADCAST_PULSE_SECONDS=60, BROADCAST_HEARTBEAT_SECONDS=60)
    async with broadcast.client(ticket(user, {course: 0})) as client:
        await client.subscribe(course, 0)
        broadcast.post(event(course, 1))
        await client.receive_events(1)
        own_valkey.client.flushall()
        assert broadcast.post(event(course, 2))[0] == 202
        frames = [await client.receive() for _ in range(3)]
        assert [f["type"] for f in frames[:2]] == ["resync", "resync"]
        assert frames[2]["seq"] == 2


async def test_redis_killed_and_started_again_means_resync_and_not_silence(
    start: Start, own_valkey: Valkey, user: str, course: str
):
    first, second = start(), start()
    async with first.client(ticket(user, {course: 0})) as client, second.client(ticket(user, {course: 0})) as other:
        for each in (client, other):
            await each.subscribe(course, 0)
        first.post(event(course, 1))
        for each in (client, other):
            assert (await each.receive_events(1))[0]["seq"] == 1

        own_valkey.kill()
        first.wait_for(503)
        second.wait_for(503)
        status, headers, body = first.request("GET", "/readyz")
        assert (status, json.loads(body)["error"]["code"], headers["retry-after"]) == (503, "unavailable", "1")
        assert first.post(event(course, 2))[0] == 503
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://127.0.0.1:{first.port}/ws/"):
                raise AssertionError
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["retry-after"] == "1"
        assert (await client.subscribe(course, 1))["code"] == "unavailable"

        own_valkey.start()
        first.wait_for(200)
        second.wait_for(200)
        for each in (client, other):
            assert await each.receive_resyncs(2) == {topics.user(user): 0, course: 1}
            assert (await each.subscribe(course, 1))["type"] == "subscribed"
        assert first.post(event(course, 2))[0] == 202
        for each in (client, other):
            assert (await each.receive_events(1, seconds=5))[0]["seq"] == 2


async def test_redis_that_hangs_is_away_and_what_was_posted_arrives_when_it_goes_on(
    start: Start, own_valkey: Valkey, user: str, course: str
):
    broadcast = start()
    async with broadcast.client(ticket(user, {course: 0})) as client:
        await client.subscribe(course, 0)
        own_valkey.pause()
        try:
            broadcast.wait_for(503)
            assert broadcast.post(event(course, 1))[0] == 503
        finally:
            own_valkey.resume()
        broadcast.wait_for(200)
        assert broadcast.post(event(course, 1), event(course, 2))[0] == 202
        assert [e["seq"] for e in await client.receive_events(2)] == [1, 2]


async def test_what_the_channel_layer_lost_comes_with_the_next_heartbeat(
    start: Start, own_valkey: Valkey, user: str, course: str
):
    layer = Valkey().start()
    try:
        first, second = start(CHANNEL_LAYER_URLS=layer.url), start(CHANNEL_LAYER_URLS=layer.url)
        async with second.client(ticket(user, {course: 0})) as client:
            await client.subscribe(course, 0)
            layer.kill()
            assert first.post(event(course, 1))[0] == 202
            assert (await client.receive_events(1, seconds=3))[0]["seq"] == 1
            second.wait_for_metric("coursehub_channel_layer_losses_total", 2)
            second.wait_for_metric("coursehub_channel_layer_lag_seconds", 1)
            beat = (await client.receive_until("heartbeat", seconds=3))[-1]
            assert beat["positions"][course] == 1
            layer.start()
            assert first.post(event(course, 2))[0] == 202
            assert (await client.receive_events(1, seconds=5))[0]["seq"] == 2
    finally:
        layer.close()


async def test_a_layer_that_comes_back_carries_again(start: Start, user: str, course: str):
    layer = Valkey().start()
    try:
        quiet = {"CHANNEL_LAYER_URLS": layer.url, "BROADCAST_HEARTBEAT_SECONDS": 60}
        first, second = start(**quiet), start(**quiet)
        async with second.client(ticket(user, {course: 0})) as client:
            await client.subscribe(course, 0)
            layer.kill()
            first.post(event(course, 1))
            for process in (first, second):
                process.wait_for_metric("coursehub_channel_layer_losses_total", 1)
            assert (await client.receive_events(1))[0]["seq"] == 1
            layer.start()
            carried, seq = second.metric("coursehub_channel_layer_seconds_count"), 1
            while second.metric("coursehub_channel_layer_seconds_count") < carried + 3:
                seq += 1
                first.post(event(course, seq))
                assert (await client.receive_events(1))[0]["seq"] == seq
    finally:
        layer.close()


async def test_two_layer_nodes_share_the_topics(start: Start, own_valkey: Valkey, user: str):
    other = Valkey().start()
    try:
        urls = f"{own_valkey.url},{other.url}"
        first, second = start(CHANNEL_LAYER_URLS=urls), start(CHANNEL_LAYER_URLS=urls)
        courses = [topics.course(uuid.uuid4()) for _ in range(8)]
        async with second.client(ticket(user, courses)) as client:
            for course in courses:
                await client.subscribe(course, 0)
            first.post(*(event(course, 1) for course in courses))
            assert len(await client.receive_events(8, seconds=2)) == 8
    finally:
        other.close()


async def test_heartbeats_tell_positions(start: Start, user: str, course: str):
    broadcast = start()
    async with broadcast.client(ticket(user, {course: 0})) as client:
        await client.subscribe(course, 0)
        broadcast.post(event(course, 1))
        await client.receive_events(1)
        beat = await client.receive(seconds=2)
        assert beat == {"type": "heartbeat", "positions": {topics.user(user): 0, course: 1}}


async def test_the_ticket_is_announced_to_expire_and_then_does(start: Start, user: str):
    broadcast = start(BROADCAST_EXPIRING_SECONDS=1)
    soon = ticket(user, now_ms=int(time.time() * 1000) - 600_000 + 2_000)
    async with broadcast.client(soon) as client:
        assert "expiring" in [f["type"] for f in await client.receive_until("expiring", seconds=3)]
        last, code = await client.closing()
        assert (last["type"], code) == ("closing", 4002)


async def test_a_refreshed_connection_lives_on(start: Start, user: str):
    broadcast = start(BROADCAST_EXPIRING_SECONDS=1)
    soon = ticket(user, now_ms=int(time.time() * 1000) - 600_000 + 2_000)
    async with broadcast.client(soon) as client:
        await client.receive_until("expiring", seconds=2)
        await client.send("refresh", ticket=ticket(user))
        await client.receive_until("refreshed")
        await asyncio.sleep(1.5)
        await client.send("ping")
        await client.receive_until("pong")


async def test_too_many_connections_of_one_user_are_closed(start: Start, user: str):
    broadcast = start(BROADCAST_CONNECTIONS_PER_USER=2, BROADCAST_CONNECTS_PER_SECOND_PER_USER=1000)
    async with broadcast.client(ticket(user)) as one, broadcast.client(ticket(user)):
        async with broadcast.client(ticket(user), greet=False) as third:
            last, code = await third.closing()
            assert (last["code"], code) == (4102, 4102)
            assert last["retryAfterMs"] > 0
        async with broadcast.client(ticket(str(uuid.uuid4()))) as somebody_else:
            assert somebody_else.welcome["type"] == "welcome"
        await one.socket.close()
        deadline = time.monotonic() + 5
        while broadcast.metric("coursehub_connections") > 1 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        async with broadcast.client(ticket(user)) as again:
            assert again.welcome["type"] == "welcome"


async def test_a_client_that_does_not_read_is_closed_and_the_others_hear_everything(
    start: Start, user: str, course: str
):
    broadcast = start(BROADCAST_SEND_BUFFER_BYTES=100_000)
    lazy = await open_and_never_read(broadcast.port, ticket(user, [course]), course)
    async with broadcast.client(ticket(user, [course])) as client:
        await client.subscribe(course, 0)
        reading = asyncio.create_task(client.receive_events(400, seconds=20))
        for seq in range(1, 401):
            status, _ = await asyncio.to_thread(broadcast.post, event(course, seq, text="x" * 20_000))
            assert status == 202
        assert [e["seq"] for e in await reading] == list(range(1, 401))
        assert broadcast.metric("coursehub_connections_closed_total") == 1
    lazy.close()


async def test_sigterm_sends_everyone_away_and_ends_the_process(start: Start, user: str, course: str):
    broadcast = start(BROADCAST_DRAIN_LINGER_SECONDS=1)
    async with broadcast.client(ticket(user, [course])) as one, broadcast.client(ticket(user)) as two:
        broadcast.process.send_signal(signal.SIGTERM)
        for client in (one, two):
            last, code = await client.closing()
            assert (last["type"], last["code"], code) == ("closing", 4201, 4201)
            assert last["retryAfterMs"] >= 500
        status, headers, _ = broadcast.request("GET", "/readyz")
        assert (status, headers["retry-after"]) == (503, "1")
        assert broadcast.get("/healthz")[0] == 200
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://127.0.0.1:{broadcast.port}/ws/"):
                raise AssertionError
        assert refused.value.response.status_code == 503
        assert broadcast.post(event(course, 1))[0] == 202
    assert broadcast.process.wait(5) == 0


def test_a_client_that_does_not_answer_the_close_does_not_hold_up_the_end(start: Start, user: str, course: str):
    broadcast = start(BROADCAST_DRAIN_SECONDS=3)
    lazy = asyncio.run(open_and_never_read(broadcast.port, ticket(user, [course]), course))
    broadcast.process.send_signal(signal.SIGTERM)
    assert broadcast.process.wait(8) == 0
    lazy.close()


def test_a_second_signal_ends_at_once(start: Start):
    broadcast = start(BROADCAST_DRAIN_LINGER_SECONDS=30)
    broadcast.process.send_signal(signal.SIGTERM)
    broadcast.wait_for(503)
    broadcast.process.send_signal(signal.SIGTERM)
    assert broadcast.process.wait(5) == 0


def test_a_port_that_is_taken_is_a_clear_error(start: Start):
    taken = start()
    second = start(wait=False, WEBSOCKET_PORT=taken.port)
    assert second.process.wait(10) == 1
    assert f"cannot listen on 127.0.0.1:{taken.port}" in second.log_path.read_text()


def test_without_redis_it_starts_and_says_that_it_is_not_ready(start: Start, own_valkey: Valkey):
    own_valkey.kill()
    broadcast = start(wait=False)
    broadcast.wait_for(200, path="/healthz")
    assert broadcast.get("/readyz")[0] == 503
    own_valkey.start()
    broadcast.wait_for(200)


def test_a_connection_that_says_nothing_is_closed(start: Start):
    broadcast = start(BROADCAST_HTTP_IDLE_SECONDS=1)
    with socket.create_connection(("127.0.0.1", broadcast.port), timeout=10) as silent:
        assert silent.recv(1) == b""


async def open_and_never_read(port: int, text: str, topic: str) -> socket.socket:
    """Open a WebSocket by hand, subscribe, and leave what comes in the smallest buffer the system gives."""
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.connect(("127.0.0.1", port))
    lazy.sendall(
        f"GET /ws/?ticket={text} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    seen = b""
    while b"\r\n\r\n" not in seen:
        seen += lazy.recv(1)
    payload = json.dumps({"type": "subscribe", "topic": topic}).encode()
    lazy.sendall(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
    while b'"subscribed","topic":"course' not in seen:
        seen += lazy.recv(1)
    return lazy


async def test_a_flood_of_frames_is_read_no_faster_than_it_is_answered(start: Start, user: str):
    broadcast = start(BROADCAST_FRAMES_PER_SECOND=1_000_000)
    async with broadcast.client(ticket(user)) as client, broadcast.client(ticket(user)) as other:

        async def flood() -> None:
            for _ in range(20_000):
                await client.send("ping")

        async def drain(each: Client) -> int:
            return sum([(await each.receive())["type"] == "pong" for _ in range(20_000)])

        flooding = asyncio.create_task(flood())
        draining = asyncio.create_task(drain(client))
        await other.send("ping")
        await other.receive_until("pong", seconds=5)
        await flooding
        assert await draining > 19_900
