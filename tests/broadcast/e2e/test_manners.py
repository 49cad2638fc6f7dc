"""Clients without manners, on a real process: what becomes of them, and that the others notice nothing of it."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable

import psutil
import pytest

from broadcast.contracts import topics
from tests.broadcast.e2e.conftest import Start
from tests.support.broadcast_process import Broadcast, Client, event, ticket
from tests.support.broadcast_streams import open_stream
from tests.support.rude_clients import RudeClient, RudeStream

pytestmark = pytest.mark.e2e

BUFFER_BYTES = 100_000
SMALL = {"BROADCAST_SEND_BUFFER_BYTES": BUFFER_BYTES, "BROADCAST_KERNEL_BUFFER_BYTES": 16_384}
QUICK_TO_NOTICE = {"BROADCAST_PING_SECONDS": 0.5, "BROADCAST_PING_TIMEOUT_SECONDS": 1}


def somebody() -> str:
    return str(uuid.uuid4())


def counted(process: Broadcast, metric: str, **labels: str) -> float:
    """Read one metric with just these labels; 0 if nothing was counted yet."""
    wanted = ",".join(f'{name}="{value}"' for name, value in labels.items())
    lines = process.get("/metrics")[1].splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"coursehub_{metric}{{{wanted}}} "))


async def until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, "it did not come to that"
        await asyncio.sleep(0.05)


async def hear_all(client: Client, process: Broadcast, course: str, first: int, last: int) -> None:
    """Post durable events one by one, and have the client hear each, in order."""
    for seq in range(first, last + 1):
        assert (await asyncio.to_thread(process.post, event(course, seq)))[0] == 202
    heard = await client.receive_events(last + 1 - first)
    assert [frame["seq"] for frame in heard] == list(range(first, last + 1))


async def test_a_hundred_clients_that_never_read_cost_their_bound_and_are_given_up(start: Start, course: str):
    process = start(**SMALL)
    rude_topics = [topics.course(somebody()) for _ in range(100)]
    memory = psutil.Process(process.process.pid).memory_info
    with contextlib.ExitStack() as stack:
        for topic in rude_topics:
            stack.enter_context(RudeClient(process.port, ticket(somebody(), [topic]), topic))
        async with process.client(ticket(somebody(), [course])) as other:
            await other.subscribe(course)
            before = most = memory().rss
            # Unbounded it would be 60 MB: each of these events is for one client alone, and none replaces another.
            for number in range(60):
                fat = [
                    event(t, None, "upload-progress", operation_id=f"{number}", text="x" * 10_000) for t in rude_topics
                ]
                assert (await asyncio.to_thread(process.post, *fat))[0] == 202
                await hear_all(other, process, course, number + 1, number + 1)
                most = max(most, memory().rss)
            await until(lambda: counted(process, "connections_closed_total", code="4101") == 100)
            await other.send("ping")
            await other.receive_until("pong")
    assert most - before < 100 * BUFFER_BYTES + 20_000_000
    assert process.metric("coursehub_laggards") == 0


async def test_a_client_that_reads_a_byte_now_and_then_is_told_4101_and_has_everything_once_it_resumes(
    start: Start, user: str, course: str
):
    process = start(**SMALL)
    with RudeClient(process.port, ticket(user, [course]), course) as slow:
        for seq in range(1, 101):
            assert process.post(event(course, seq, text="x" * 5_000))[0] == 202
            if seq % 10 == 0:
                await asyncio.to_thread(slow.sip, 1)
        assert counted(process, "connections_closed_total", code="4101") == 1
        # Within the time that there is for closing it wakes up, and reads what was on its way.
        *heard, last = await asyncio.to_thread(slow.read_to_the_end)
    assert (last["type"], last["code"]) == ("closing", 4101)
    seqs = [frame["seq"] for frame in heard if "data" in frame]
    async with process.client(ticket(user, [course])) as again:
        await again.subscribe(course, since=seqs[-1])
        seqs += [frame["seq"] for frame in await again.receive_events(100 - len(seqs))]
    assert seqs == list(range(1, 101))


async def test_progress_gives_way_to_newer_progress_before_a_slow_client_is_given_up(
    start: Start, user: str, course: str
):
    process = start(**SMALL)
    with RudeClient(process.port, ticket(user, [course]), course) as slow:
        assert process.post(event(course, 1))[0] == 202
        for number in range(50):
            told = [
                event(course, None, "upload-progress", operation_id="upload-1", percent=number, text="x" * 10_000)
                for _ in range(5)
            ]
            assert process.post(*told)[0] == 202
        assert process.post(event(course, 2, operation_id="upload-1"))[0] == 202
        assert process.metric("coursehub_laggards") == 1
        assert counted(process, "events_dropped_total", reason="superseded") > 100
        assert process.metric("coursehub_connections_closed_total") == 0
        heard = await asyncio.to_thread(slow.read_until, b'"seq":2,')
    assert [frame["data"]["percent"] for frame in heard if frame["type"] == "upload-progress"][-1] == 49


async def test_clients_that_vanish_without_a_word_are_found_out_and_the_others_stay(start: Start, course: str):
    process = start(**QUICK_TO_NOTICE)
    with contextlib.ExitStack() as stack:
        rude = [stack.enter_context(RudeClient(process.port, ticket(somebody(), [course]), course)) for _ in range(100)]
        async with process.client(ticket(somebody(), [course])) as other:
            await other.subscribe(course)
            await hear_all(other, process, course, 1, 20)
            for client in rude:
                client.vanish()
            await hear_all(other, process, course, 21, 40)
            await until(lambda: counted(process, "connections_closed_total", code="silent") == 100)
            assert process.metric("coursehub_connections") == 1
            await hear_all(other, process, course, 41, 60)


async def test_event_streams_that_vanish_without_a_word_are_found_out_and_the_others_stay(start: Start, course: str):
    process = start(**QUICK_TO_NOTICE)
    with contextlib.ExitStack() as stack:
        rude = [stack.enter_context(RudeStream(process.port, ticket(somebody(), [course]), course)) for _ in range(100)]
        async with open_stream(process.port, ticket(somebody(), [course]), course) as other:
            await other.receive_begun(2)
            assert (await asyncio.to_thread(process.post, *(event(course, seq) for seq in range(1, 21))))[0] == 202
            for client in rude:
                client.vanish()
            assert (await asyncio.to_thread(process.post, event(course, 21)))[0] == 202
            await until(lambda: process.metric("coursehub_event_streams") == 1)
            assert (process.metric("coursehub_connections"), process.metric("coursehub_laggards")) == (1, 0)
            assert (await asyncio.to_thread(process.post, event(course, 22)))[0] == 202
            assert [e["seq"] for e in await other.receive_events(22)] == list(range(1, 23))


async def test_a_flood_of_subscriptions_is_refused_and_counted_and_then_closed(start: Start, user: str, course: str):
    process = start()
    with RudeClient(process.port, ticket(user, [course])) as rude:
        async with process.client(ticket(somebody(), [course])) as other:
            await other.subscribe(course)
            reading = asyncio.create_task(asyncio.to_thread(rude.read_to_the_end))
            await asyncio.to_thread(rude.flood, 10_000, type="subscribe", topic=course)
            await hear_all(other, process, course, 1, 20)
            heard = await reading
    subscribed = sum(frame["type"] == "subscribed" for frame in heard)
    assert 400 <= subscribed < 2_000
    assert {frame["code"] for frame in heard if frame["type"] == "error"} == {"rate_limited"}
    assert heard[-1]["code"] == 4103
    assert counted(process, "limited_total", limit="subscribes") > 0
    assert counted(process, "connections_closed_total", code="4103") == 1


async def test_a_flood_of_connects_is_refused_and_counted_and_the_others_come_in(start: Start, user: str, course: str):
    process = start(BROADCAST_CONNECTIONS_PER_ADDRESS=20, BROADCAST_CONNECTS_PER_SECOND_PER_ADDRESS=0.01)
    text = ticket(user, [course])

    def come() -> int:
        headers = {"Upgrade": "websocket", "X-Forwarded-For": "9.9.9.9", "Authorization": f"Bearer {text}"}
        return process.request("GET", "/ws/", headers={"Connection": "Upgrade", **headers})[0]

    statuses = [await asyncio.to_thread(come) for _ in range(100)]
    assert statuses.count(429) == 80
    assert counted(process, "limited_total", limit="address_connects") == 80
    async with process.client(text) as other:
        await other.subscribe(course)
        await hear_all(other, process, course, 1, 5)
