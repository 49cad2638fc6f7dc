"""Event streams of a service in this process: what happens between their steps."""

import asyncio
import json
import time
import uuid

import pytest

from broadcast.contracts import topics
from broadcast.history import Unavailable
from broadcast.resume import Retained
from broadcast.revocations import Revocation
from broadcast.service import Service
from tests.broadcast.streams.conftest import Start
from tests.support.broadcast_fakes import make_parcel
from tests.support.broadcast_process import ticket
from tests.support.broadcast_streams import StreamConnection


class Held:
    """Holds a service's reads of chosen topics until they are let go, or fails them."""

    def __init__(self, service: Service, *held: str) -> None:
        self._read, service.read = service.read, self.read  # type: ignore[method-assign]
        self._held = held
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        self.fails = False

    async def read(self, topic: str, since: int | None) -> Retained:
        """Read, as the service does, when it may."""
        if topic in self._held:
            self.reached.set()
            await self.go.wait()
            if self.fails:
                raise Unavailable("held")
        return await self._read(topic, since)


async def test_topics_resume_whole_while_events_are_published(start: Start, user: str):
    service = await start()
    courses = [topics.course(uuid.uuid4()) for _ in range(3)]
    over = asyncio.Event()

    async def publish() -> int:
        seq = 0
        while not over.is_set():
            seq += 1
            await service.take([make_parcel(seq, topic=course) for course in courses], [])
        return seq

    publishing = asyncio.create_task(publish())
    streams = []
    for _ in range(10):
        begun = {"lastEventId": ",".join(f"{course}=0" for course in courses)}
        streams.append(StreamConnection(service, ticket(user, courses), *courses, **begun))
        await streams[-1].wait_for(lambda: len(streams[-1].said("subscribed")) == 4)
    over.set()
    last = await publishing
    for stream in streams:
        for course in courses:
            await stream.wait_for(lambda s=stream, c=course: s.seqs(c)[-1:] == [last])
            assert stream.seqs(course) == list(range(1, last + 1))
        await stream.leave()


async def test_what_is_withdrawn_before_it_began_is_told_and_the_rest_goes_on(start: Start, user: str, course: str):
    service = await start()
    held = Held(service, course)
    other = topics.course(uuid.uuid4())
    stream = StreamConnection(service, ticket(user, [course, other]), course, other)
    await held.reached.wait()
    await service.take([], [Revocation(user, course, now_ms())])
    held.go.set()
    await stream.wait_for(lambda: len(stream.said("subscribed")) == 2)
    assert [frame["topic"] for frame in stream.said("unsubscribed")] == [course]
    assert {frame["topic"] for frame in stream.said("subscribed")} == {topics.user(user), other}
    await service.take([make_parcel(1, topic=course), make_parcel(1, topic=other)], [])
    assert (stream.seqs(course), stream.seqs(other)) == ([], [1])
    assert service.hub.listener_count(course) == 0


async def test_what_is_withdrawn_before_its_turn_comes_is_not_listened_to(start: Start, user: str, course: str):
    service = await start()
    held = Held(service, course)
    other = topics.course(uuid.uuid4())
    stream = StreamConnection(service, ticket(user, [course, other]), course, other)
    await held.reached.wait()
    await service.take([], [Revocation(user, other, now_ms())])
    held.go.set()
    await stream.wait_for(lambda: len(stream.said("subscribed")) == 2)
    await asyncio.sleep(0.05)
    assert [frame["topic"] for frame in stream.said("unsubscribed")] == [other]
    assert (service.hub.listener_count(), service.hub.listener_count(other)) == (2, 0)


async def test_what_is_withdrawn_before_the_answer_is_told_in_it(start: Start, user: str, course: str):
    service = await start()
    held = Held(service, topics.user(user))
    stream = StreamConnection(service, ticket(user, [course]), course)
    await held.reached.wait()
    await service.take([], [Revocation(user, course, now_ms())])
    held.go.set()
    await stream.wait_for(lambda: stream.said("subscribed"))
    assert [frame["type"] for frame in stream.frames] == ["welcome", "unsubscribed", "subscribed"]


async def test_who_is_disabled_before_the_answer_is_refused(start: Start, user: str):
    service = await start()
    held = Held(service, topics.user(user))
    stream = StreamConnection(service, ticket(user))
    await held.reached.wait()
    await service.take([], [Revocation(user, None, now_ms())])
    held.go.set()
    await stream.wait_for(lambda: stream.answer)
    assert (stream.status, json.loads(stream.answer)["error"]["code"]) == (403, "permission_denied")
    assert len(service.clients) == service.hub.listener_count() == 0


@pytest.mark.parametrize("fails", [True, False])
async def test_whoever_waits_for_the_answer_when_the_service_cannot_give_one_is_refused(
    start: Start, user: str, fails: bool
):
    service = await start(drain_seconds=0.1, drain_linger_seconds=0.01)
    held = Held(service, topics.user(user))
    held.fails = fails
    stream = StreamConnection(service, ticket(user))
    await held.reached.wait()
    if not fails:
        await service.drain()
    held.go.set()
    await stream.wait_for(lambda: stream.answer)
    assert (stream.status, json.loads(stream.answer)["error"]["code"]) == (503, "unavailable")
    assert len(service.clients) == service.hub.listener_count() == 0


async def test_a_history_that_goes_away_after_the_answer_ends_the_stream_where_it_was(
    start: Start, user: str, course: str
):
    service = await start()
    await service.take([make_parcel(1, topic=course)], [])
    held = Held(service, course)
    held.fails = True
    stream = StreamConnection(service, ticket(user, [course]), course, lastEventId=f"{course}=0")
    await held.reached.wait()
    held.go.set()
    await stream.wait_for(lambda: stream.closed_with)
    assert stream.closed_with == 4201
    # The position that it came with is still what it goes on from.
    assert last_id(stream) == {course: "0", topics.user(user): "0"}
    assert service.hub.listener_count() == 0


async def test_a_client_that_leaves_while_its_history_is_read_leaves_nothing_behind(
    start: Start, user: str, course: str
):
    service = await start()
    held = Held(service, course)
    stream = StreamConnection(service, ticket(user, [course]), course)
    await held.reached.wait()
    leaving = asyncio.create_task(stream.leave())
    held.go.set()
    await leaving
    assert len(service.clients) == service.hub.listener_count() == 0


async def test_a_replay_goes_no_faster_than_the_client_reads(start: Start, user: str, course: str):
    service = await start()
    other = topics.course(uuid.uuid4())
    for seq in range(1, 801, 100):
        await service.take([make_parcel(n, topic=course, text="x" * 800) for n in range(seq, seq + 100)], [])
    begun = {"lastEventId": f"{course}=0,{other}=0"}
    stream = StreamConnection(service, ticket(user, [course, other]), course, other, capacity_bytes=200_000, **begun)
    stream.transport.pause_after = 5
    await stream.wait_for(lambda: stream.outlet.waiting_bytes)
    # Live events of the same topic wait for their turn, and are not written among the replayed.
    await service.take([make_parcel(801, topic=course)], [])
    assert stream.outlet.waiting_bytes < 200_000
    assert stream.seqs(course)[-1] < 200
    stream.transport.pause_after = None
    stream.outlet.resumeProducing()
    await stream.wait_for(lambda: len(stream.said("subscribed")) == 3)
    assert stream.seqs(course) == list(range(1, 802))


async def test_who_reads_nothing_of_a_replay_is_closed_in_time(start: Start, user: str, course: str):
    service = await start(ping_timeout_seconds=0.1)
    await service.take([make_parcel(n, topic=course, text="x" * 800) for n in range(1, 201)], [])
    stream = StreamConnection(service, ticket(user, [course]), course, lastEventId=f"{course}=0")
    stream.transport.pause_after = 5
    await stream.wait_for(lambda: stream.outlet.waiting_bytes)
    stream.transport.pause_after = None
    await stream.wait_for(lambda: stream.closed_with)
    assert stream.closed_with == 4101
    assert len(service.clients) == service.hub.listener_count() == 0


async def test_what_is_withdrawn_during_its_replay_is_replayed_no_further(start: Start, user: str, course: str):
    service = await start()
    await service.take([make_parcel(n, topic=course, text="x" * 800) for n in range(1, 201)], [])
    stream = StreamConnection(service, ticket(user, [course]), course, lastEventId=f"{course}=0")
    stream.transport.pause_after = 5
    await stream.wait_for(lambda: stream.outlet.waiting_bytes)
    stream.transport.pause_after = None
    stream.withdraw(Revocation(user, course, now_ms() + 1))
    stream.outlet.resumeProducing()
    await stream.wait_for(lambda: stream.said("unsubscribed"))
    await service.take([make_parcel(1, topic=topics.user(user))], [])
    await stream.wait_for(lambda: stream.frames[-1].get("seq") == 1)
    assert stream.seqs(course)[-1] < 200
    assert stream.frames[-2]["type"] == "unsubscribed"


async def test_progress_that_waits_gives_way_to_newer_progress(start: Start, user: str, course: str):
    service = await start()
    stream = StreamConnection(service, ticket(user, [course]), course)
    await stream.wait_for(lambda: len(stream.said("subscribed")) == 2)
    stream.outlet.pauseProducing()
    for percent in range(100):
        service.pass_on([make_parcel(None, topic=course, type_="upload-progress", percent=percent)])
    await service.take([make_parcel(1, topic=course)], [])
    stream.outlet.settle()
    stream.outlet.resumeProducing()
    heard = [frame for frame in stream.frames if "data" in frame]
    assert [frame["data"].get("percent") for frame in heard] == [99, None]


async def test_a_listener_counts_as_one_for_each_topic_and_streams_are_counted(start: Start, user: str, course: str):
    service = await start()
    stream = StreamConnection(service, ticket(user, [course]), course)
    await stream.wait_for(lambda: len(stream.said("subscribed")) == 2)
    assert service.hub.listener_count() == 2
    assert b"coursehub_event_streams 1.0" in service.metrics.render()
    await stream.leave()
    assert service.hub.listener_count() == 0
    assert b"coursehub_event_streams 0.0" in service.metrics.render()


def last_id(stream: StreamConnection) -> dict[str, str]:
    """Read the last id that was sent."""
    lines = b"".join(stream.transport.written).decode().split("\n")
    last = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")][-1]
    return dict(part.split("=") for part in last.split(","))


def now_ms() -> int:
    """Tell the time as tickets do."""
    return time.time_ns() // 1_000_000


async def test_what_happens_in_one_turn_keeps_its_order_and_each_id_its_positions(start: Start, user: str, course: str):
    service = await start()
    other = topics.course(uuid.uuid4())
    stream = StreamConnection(service, ticket(user, [course, other]), course, other)
    await stream.wait_for(lambda: len(stream.said("subscribed")) == 3)
    begun = len(stream.frames)

    for seq in (1, 2):
        service.hub.emit(make_parcel(seq, topic=course))
    service.hub.emit(make_parcel(None, topic=other, type_="upload-progress"))
    service.hub.emit(make_parcel(1, topic=other))
    service.hub.emit(make_parcel(3, topic=course))
    stream.withdraw(Revocation(user, other, now_ms() + 1))
    service.hub.emit(make_parcel(4, topic=course))
    service.hub.lose()

    told = [(frame["type"], frame.get("seq")) for frame in stream.frames[begun:]]
    assert told[:7] == [
        ("chapter-update-complete", 1),
        ("chapter-update-complete", 2),
        ("chapter-update-complete", 3),
        ("upload-progress", None),
        ("chapter-update-complete", 1),
        ("unsubscribed", None),
        ("chapter-update-complete", 4),
    ]
    assert {frame["topic"]: frame["seq"] for frame in stream.said("resync")} == {topics.user(user): 0, course: 4}
    assert stream.ids[begun:][:7] == [
        *({topics.user(user): 0, course: seq, other: 0} for seq in (1, 2, 3, 3)),
        {topics.user(user): 0, course: 3, other: 1},
        {topics.user(user): 0, course: 3},
        {topics.user(user): 0, course: 4},
    ]


async def test_ids_in_one_turn_know_what_was_missed_and_forget_what_was_withdrawn(start: Start, user: str, course: str):
    service = await start()
    own, other = topics.user(user), topics.course(uuid.uuid4())
    stream = StreamConnection(service, ticket(user, [course, other]), course, other)
    await stream.wait_for(lambda: len(stream.said("subscribed")) == 3)
    begun = len(stream.frames)

    service.hub.emit(make_parcel(1, topic=course))
    stream.withdraw(Revocation(user, other, now_ms() + 1))
    service.hub.emit(make_parcel(2, topic=course))
    service.hub.emit(make_parcel(5, topic=course))
    service.hub.mend(course, [], up_to=5)
    stream.outlet.settle()

    told = [(frame["type"], frame.get("seq")) for frame in stream.frames[begun:]]
    assert told == [
        ("chapter-update-complete", 1),
        ("unsubscribed", None),
        ("chapter-update-complete", 2),
        ("resync", 4),
        ("chapter-update-complete", 5),
    ]
    assert stream.ids[begun:] == [{own: 0, course: 1, other: 0}, *({own: 0, course: seq} for seq in (1, 2, 4, 5))]
