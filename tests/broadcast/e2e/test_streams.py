"""Event streams of real processes."""

import asyncio
import contextlib
import json
import time
import uuid

import pytest

from broadcast.contracts import topics
from tests.broadcast.e2e.conftest import Start
from tests.support.broadcast_process import Broadcast, event, revocation, ticket
from tests.support.broadcast_streams import StreamClient, open_stream
from tests.support.broadcast_valkey import Valkey

pytestmark = pytest.mark.e2e


def own(user: str) -> str:
    """Name somebody's own topic."""
    return topics.user(user)


async def test_a_stream_carries_the_users_own_topic_and_those_it_names(broadcast: Broadcast, user: str, course: str):
    async with open_stream(broadcast.port, ticket(user, [course]), course) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["x-accel-buffering"] == "no"
        assert "no-store" in stream.headers["cache-control"]
        welcome = await stream.receive()
        assert (welcome["type"], welcome["userId"]) == ("welcome", user)
        begun = [await stream.receive(), await stream.receive()]
        assert [(f["type"], f["topic"], f["recovered"]) for f in begun] == [
            ("subscribed", own(user), None),
            ("subscribed", course, None),
        ]
        posted = [event(course, 1, title="Grüße\n"), event(course, None, "upload-progress"), event(own(user), 1)]
        assert broadcast.post(*posted)[0] == 202
        heard = [await stream.receive() for _ in posted]
        assert heard == [{name: value for name, value in e.items() if name != "topic"} for e in posted]


async def test_the_ticket_may_stand_in_the_query(broadcast: Broadcast, user: str):
    async with open_stream(broadcast.port, None, ticket=ticket(user)) as stream:
        assert [f["topic"] for f in await stream.receive_begun(1)] == [own(user)]


async def test_each_id_is_where_the_client_stands_in_all_its_topics(broadcast: Broadcast, user: str, course: str):
    async with open_stream(broadcast.port, ticket(user, [course]), course) as stream:
        await stream.receive_begun(2)
        assert read(stream) == {own(user): 0, course: 0}
        stood = []
        for posted in (event(course, 1), event(course, 2), event(own(user), 1), event(course, None), event(course, 3)):
            broadcast.post(posted)
            await stream.receive()
            stood.append((read(stream)[own(user)], read(stream)[course]))
        assert stood == [(0, 1), (0, 2), (1, 2), (1, 2), (1, 3)]


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_client_that_was_cut_resumes_all_its_topics(broadcast: Broadcast, user: str, way: str):
    courses = [topics.course(uuid.uuid4()) for _ in range(3)]
    granted = ticket(user, courses)
    async with open_stream(broadcast.port, granted, *courses) as stream:
        await stream.receive_begun(4)
        broadcast.post(*(event(course, seq) for seq in (1, 2) for course in courses))
        first = [await stream.receive() for _ in range(6)]
        position = stream.last_id
    broadcast.post(*(event(course, seq) for seq in (3, 4, 5) for course in courses), event(own(user), 1))
    # A browser repeats the query it first came with; the header is newer.
    headers, query = ({}, {"lastEventId": position}) if way == "query" else ({"Last-Event-ID": position}, {})
    query.setdefault("lastEventId", f"{courses[0]}=0")
    async with open_stream(broadcast.port, granted, *courses, headers=headers, **query) as stream:
        rest = await stream.receive_events(10)
        for course in courses:
            id_ = topics.parse(course).id
            assert [e["seq"] for e in [*first, *rest] if e.get("courseId") == id_] == [1, 2, 3, 4, 5]
        assert [e["seq"] for e in rest if "userId" in e] == [1]
        broadcast.post(event(courses[1], 6))
        assert (await stream.receive())["seq"] == 6


async def test_a_cut_within_a_replay_resumes_within_it(broadcast: Broadcast, user: str, course: str):
    granted = ticket(user, [course])
    for start in range(1, 501, 100):
        broadcast.post(*(event(course, seq, text="x" * 200) for seq in range(start, start + 100)))
    position, heard = f"{course}=0", []
    while len(heard) < 500:
        async with open_stream(broadcast.port, granted, course, lastEventId=position) as stream:
            heard += [e["seq"] for e in await stream.receive_events(min(120, 500 - len(heard)))]
            position = stream.last_id
    assert heard == list(range(1, 501))


async def test_without_positions_a_topic_begins_now(broadcast: Broadcast, user: str, course: str):
    other = topics.course(uuid.uuid4())
    broadcast.post(event(course, 1), event(other, 1))
    query = {"lastEventId": f"{other}=0"}
    async with open_stream(broadcast.port, ticket(user, [course, other]), course, other, **query) as stream:
        begun = {f["topic"]: f for f in await stream.receive_begun(3)}
        assert (begun[course]["seq"], begun[course]["recovered"]) == (1, None)
        assert (begun[other]["seq"], begun[other]["recovered"], begun[other]["replayed"]) == (1, True, 1)


async def test_positions_of_other_topics_are_no_matter(broadcast: Broadcast, user: str, course: str):
    gone = topics.course(uuid.uuid4())
    async with open_stream(broadcast.port, ticket(user, [course]), course, lastEventId=f"{gone}=7") as stream:
        await stream.receive_begun(2)
        assert gone not in read(stream)


async def test_what_cannot_be_replayed_is_a_resync_from_which_it_goes_on(start: Start, user: str, course: str):
    broadcast = start(BROADCAST_HISTORY_LENGTH=5)
    broadcast.post(*(event(course, seq) for seq in range(1, 21)), event(own(user), 1))
    query = {"lastEventId": f"{course}=3,{own(user)}=0"}
    async with open_stream(broadcast.port, ticket(user, [course]), course, **query) as stream:
        frames = [f for f in await stream.receive_until("resync") if "data" not in f]
        assert [f["type"] for f in frames] == ["welcome", "subscribed", "resync"]
        assert (frames[-1]["seq"], frames[-1]["reason"]) == (20, "too_far")
        assert read(stream) == {course: 20, own(user): 1}
        position = stream.last_id
    async with open_stream(broadcast.port, ticket(user, [course]), course, lastEventId=position) as stream:
        assert [f["recovered"] for f in await stream.receive_begun(2)] == [True, True]


async def test_a_history_that_is_lost_is_a_resync_of_every_topic(
    start: Start, own_valkey: Valkey, user: str, course: str
):
    broadcast = start()
    broadcast.post(event(course, 1), event(own(user), 1))
    async with open_stream(broadcast.port, ticket(user, [course]), course) as stream:
        await stream.receive_begun(2)
        own_valkey.client.flushall()
        resyncs = {}
        while len(resyncs) < 2:
            if (frame := await stream.receive())["type"] == "resync":
                resyncs[frame["topic"]] = frame["seq"]
        assert resyncs == {course: 1, own(user): 1} == read(stream)


async def test_withdrawn_access_ends_one_topic_within_a_second(start: Start, user: str, course: str):
    one, two = start(), start()
    other = topics.course(uuid.uuid4())
    granted = ticket(user, [course, other])
    async with open_stream(two.port, granted, course, other) as stream:
        await stream.receive_begun(3)
        one.post(event(course, 1), revocation(user, course, now_ms()))
        began = time.monotonic()
        assert (await stream.receive_until("unsubscribed"))[-1] == {
            "type": "unsubscribed",
            "topic": course,
            "code": "access_withdrawn",
        }
        assert time.monotonic() - began < 1
        assert set(read(stream)) == {own(user), other}
        one.post(event(course, 2), event(other, 1))
        assert [e["courseId"] for e in await stream.receive_events(1)] == [topics.parse(other).id]
        position = stream.last_id
    # A browser comes back with the query it has: the rest goes on, and what was withdrawn is said again.
    async with open_stream(one.port, granted, course, other, headers={"Last-Event-ID": position}) as stream:
        begun = await stream.receive_begun(3)
        assert [(f["type"], f["topic"]) for f in begun] == [
            ("unsubscribed", course),
            ("subscribed", own(user)),
            ("subscribed", other),
        ]


async def test_a_disabled_user_is_told_and_does_not_come_in_again(broadcast: Broadcast, user: str):
    granted = ticket(user)
    async with open_stream(broadcast.port, granted) as stream:
        await stream.receive_begun(1)
        broadcast.post(revocation(user, None, now_ms()))
        last = await stream.receive_end()
        assert (last["type"], last["code"], last["retryAfterMs"]) == ("closing", 4003, None)
    async with open_stream(broadcast.port, granted) as stream:
        assert stream.status == 403
        assert (await stream.read_answer())["error"]["code"] == "permission_denied"


async def test_an_expiring_ticket_is_told_and_ends_the_stream(start: Start, user: str):
    broadcast = start(BROADCAST_EXPIRING_SECONDS=1)
    granted = ticket(user, now_ms=now_ms() - 600_000 + 2_000)
    async with open_stream(broadcast.port, granted) as stream:
        frames = await stream.receive_until("closing")
        assert [f["type"] for f in frames if f["type"] != "heartbeat"] == [
            "welcome",
            "subscribed",
            "expiring",
            "closing",
        ]
        assert frames[-1]["code"] == 4002
        with pytest.raises(EOFError):
            await stream.receive()
    async with open_stream(broadcast.port, granted) as stream:
        assert stream.status == 401
        assert stream.headers["www-authenticate"] == "Bearer"
        assert (await stream.read_answer())["error"]["code"] == "not_authenticated"


async def test_a_heartbeat_brings_the_position_of_every_topic(start: Start, user: str, course: str):
    broadcast = start()
    broadcast.post(event(course, 1))
    async with open_stream(broadcast.port, ticket(user, [course]), course) as stream:
        await stream.receive_begun(2)
        assert (await stream.receive())["positions"] == {own(user): 0, course: 1}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"topics": "course:1"}, "topics"),
        ({"topics": "everything"}, "topics"),
        ({"lastEventId": "7"}, "lastEventId"),
        ({"lastEventId": "course:7=1"}, "lastEventId"),
        ({"lastEventId": "user:00000000-0000-0000-0000-000000000000=-1"}, "lastEventId"),
        ({"lastEventId": "user:00000000-0000-0000-0000-000000000000=9007199254740992"}, "lastEventId"),
        ({"lastEventId": "user:00000000-0000-0000-0000-000000000000=1," * 2}, "lastEventId"),
    ],
)
async def test_garbage_is_refused_before_the_stream_begins(
    broadcast: Broadcast, user: str, query: dict[str, str], field: str
):
    async with open_stream(broadcast.port, ticket(user), **query) as stream:
        assert stream.status == 400
        error = (await stream.read_answer())["error"]
        assert (error["code"], list(error["fields"])) == ("validation_error", [field])


async def test_garbage_in_the_header_is_refused_too(broadcast: Broadcast, user: str):
    async with open_stream(broadcast.port, ticket(user), headers={"Last-Event-ID": "\xff\xfe;=,"}) as stream:
        assert stream.status == 400
        assert (await stream.read_answer())["success"] is False


@pytest.mark.parametrize("text", [None, "", "no ticket"])
async def test_without_a_ticket_there_is_no_stream(broadcast: Broadcast, text: str | None):
    async with open_stream(broadcast.port, text) as stream:
        assert stream.status == 401
        assert (await stream.read_answer())["error"]["code"] == "not_authenticated"


async def test_a_topic_that_the_ticket_does_not_grant_is_refused(broadcast: Broadcast, user: str, course: str):
    async with open_stream(broadcast.port, ticket(user), course) as stream:
        assert stream.status == 403
        error = (await stream.read_answer())["error"]
        assert (error["code"], error["topic"]) == ("permission_denied", course)


async def test_too_many_topics_are_refused(start: Start, user: str):
    broadcast = start(BROADCAST_TOPICS_PER_CONNECTION=2)
    courses = [topics.course(uuid.uuid4()) for _ in range(2)]
    async with open_stream(broadcast.port, ticket(user, courses), *courses) as stream:
        assert stream.status == 400
        assert list((await stream.read_answer())["error"]["fields"]) == ["topics"]


async def test_streams_and_sockets_of_a_user_count_together(start: Start, user: str):
    broadcast = start(BROADCAST_CONNECTIONS_PER_USER=2)
    async with broadcast.client(ticket(user)), open_stream(broadcast.port, ticket(user)) as first:
        await first.receive_begun(1)
        async with open_stream(broadcast.port, ticket(user)) as refused:
            assert refused.status == 429
            assert int(refused.headers["retry-after"]) > 0
            assert (await refused.read_answer())["error"]["code"] == "throttled"
    assert broadcast.metric("coursehub_limited_total") == 1


async def test_streams_count_for_their_address_until_they_are_gone(start: Start):
    broadcast = start(BROADCAST_CONNECTIONS_PER_ADDRESS=1)
    headers = {"X-Forwarded-For": "192.0.2.1", "Origin": "http://localhost:3000"}
    async with open_stream(broadcast.port, ticket(new_user()), headers=headers) as first:
        await first.receive_begun(1)
        async with open_stream(broadcast.port, ticket(new_user()), headers=headers) as refused:
            assert refused.status == 429
            assert refused.headers["access-control-allow-origin"] == "http://localhost:3000"
            assert (await refused.read_answer())["error"]["code"] == "throttled"
    await eventually(broadcast, "coursehub_connections", 0)
    async with open_stream(broadcast.port, ticket(new_user()), headers=headers) as again:
        assert again.status == 200


async def test_a_drain_sends_streams_away_at_times_of_their_own(start: Start, course: str):
    broadcast = start()
    async with contextlib.AsyncExitStack() as stack:
        users = [new_user() for _ in range(8)]
        opened = [open_stream(broadcast.port, ticket(user, [course]), course) for user in users]
        streams = [await stack.enter_async_context(each) for each in opened]
        for stream in streams:
            await stream.receive_begun(2)
        broadcast.post(event(course, 1))
        assert broadcast.process is not None
        broadcast.process.terminate()
        ends = await asyncio.gather(*(stream.receive_until("closing") for stream in streams))
        broadcast.wait_for(503)
        async with open_stream(broadcast.port, ticket(users[0])) as late:
            assert late.status == 503
            assert int(late.headers["retry-after"]) > 0
            assert (await late.read_answer())["error"]["code"] == "unavailable"
    assert {end[-1]["code"] for end in ends} == {4201}
    assert all([f["seq"] for f in end if "data" in f] == [1] for end in ends)
    assert [end[-1]["retryAfterMs"] for end in ends] == [stream.retry_ms for stream in streams]
    assert len({stream.retry_ms for stream in streams}) > 4
    assert broadcast.process.wait(10) == 0


async def test_without_a_history_there_is_no_stream(start: Start, own_valkey: Valkey, user: str):
    broadcast = start()
    own_valkey.kill()
    broadcast.wait_for(503)
    async with open_stream(broadcast.port, ticket(user)) as stream:
        assert stream.status == 503
        assert "retry-after" in stream.headers
    own_valkey.start()
    broadcast.wait_for(200)
    async with open_stream(broadcast.port, ticket(user)) as stream:
        await stream.receive_begun(1)


async def test_a_client_that_does_not_read_is_closed_and_resumes(start: Start, user: str, course: str):
    broadcast = start(BROADCAST_SEND_BUFFER_BYTES=300_000, BROADCAST_REPLAY_BYTES=200_000)
    granted = ticket(user, [course])
    async with (
        open_stream(broadcast.port, granted, course) as slow,
        open_stream(broadcast.port, ticket(new_user(), [course]), course) as quick,
    ):
        await slow.receive_begun(2)
        await quick.receive_begun(2)
        seq = 0
        while broadcast.metric("coursehub_connections") > 1:
            broadcast.post(*(event(course, seq + n, text="x" * 10_000) for n in range(1, 21)))
            seq += 20
            assert seq < 4000
            assert [e["seq"] for e in await quick.receive_events(20)] == list(range(seq - 19, seq + 1))
        heard = [f for f in await receive_all(slow) if "data" in f]
        assert [e["seq"] for e in heard] == list(range(1, len(heard) + 1))
        position = slow.last_id
    async with open_stream(broadcast.port, granted, course, lastEventId=position) as stream:
        begun = {f["topic"]: f for f in await stream.receive_begun(2)}
        assert begun[course]["seq"] == seq


async def test_a_client_that_talks_is_cut_off_and_hurts_nobody(broadcast: Broadcast, user: str, course: str):
    async with open_stream(broadcast.port, ticket(new_user(), [course]), course) as other:
        await other.receive_begun(2)
        reader, writer = await asyncio.open_connection("127.0.0.1", broadcast.port)
        writer.write(f"GET /events?ticket={ticket(user)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"subscribed")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                writer.write(b"GET / HTTP/1.1\r\n\r\n" * 1000)
                await writer.drain()
            await reader.read()
        writer.close()
        await eventually(broadcast, "coursehub_event_streams", 1)
        broadcast.post(event(course, 1))
        assert [e["seq"] for e in await other.receive_events(1)] == [1]
    await eventually(broadcast, "coursehub_event_streams", 0)


async def test_pages_of_configured_origins_may_read_it_and_others_may_not(start: Start, user: str):
    broadcast = start(CORS_ALLOWED_ORIGINS="https://courses.example, https://other.example")
    for origin, allowed in (("https://courses.example", True), ("https://evil.example", False), ("null", False)):
        async with open_stream(broadcast.port, ticket(user), headers={"Origin": origin}) as stream:
            assert stream.headers.get("access-control-allow-origin") == (origin if allowed else None)
            assert stream.headers["vary"] == "Origin"
        status, headers, _ = broadcast.request("OPTIONS", "/events", headers={"Origin": origin})
        assert status == 200
        assert ("authorization" in headers.get("access-control-allow-headers", "").lower()) is allowed


def test_only_get_is_for_streams(broadcast: Broadcast):
    for method in ("POST", "PUT", "HEAD"):
        status, headers, _ = broadcast.request(method, "/events")
        assert (status, headers["allow"]) == (405, "GET, OPTIONS")


async def test_an_upgrade_there_is_an_ordinary_request(broadcast: Broadcast, user: str):
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    async with open_stream(broadcast.port, ticket(user), headers=headers) as stream:
        assert stream.status == 200


async def test_a_connection_that_has_asked_before_may_become_a_stream(broadcast: Broadcast, user: str):
    reader, writer = await asyncio.open_connection("127.0.0.1", broadcast.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b'"ok"}}')
    writer.write(f"GET /events?ticket={ticket(user)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await asyncio.wait_for(reader.readuntil(b"subscribed"), 10)
    writer.close()


def read(stream: StreamClient) -> dict[str, int]:
    """Read the positions of the last id."""
    parts = (part.rpartition("=") for part in stream.last_id.split(",") if part)
    return {topic: int(seq) for topic, _, seq in parts}


async def receive_all(stream: StreamClient) -> list[dict[str, object]]:
    """Receive whatever comes until the connection is over, however it ends."""
    frames = []
    with contextlib.suppress(EOFError, ConnectionError, json.JSONDecodeError):
        while True:
            frames.append(await stream.receive())
    return frames


async def eventually(broadcast: Broadcast, name: str, value: float) -> None:
    """Wait until a metric has a value."""
    async with asyncio.timeout(10):
        while broadcast.metric(name) != value:
            await asyncio.sleep(0.02)


def new_user() -> str:
    """Make somebody's id."""
    return str(uuid.uuid4())


def now_ms() -> int:
    """Tell the time as tickets do."""
    return time.time_ns() // 1_000_000
