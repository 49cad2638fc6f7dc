"""Services in this process, on a real Valkey, with channel layers that lose, double and shuffle."""

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Callable

import pytest

from broadcast.config import Settings
from broadcast.contracts import topics
from broadcast.history import Gaps, Unavailable
from broadcast.layers import ChannelLayer
from broadcast.revocations import Revocation
from broadcast.service import Service
from tests.support.broadcast_fakes import Network, make_parcel
from tests.support.broadcast_process import TICKET_SECRET, ticket
from tests.support.broadcast_socket import Connection
from tests.support.broadcast_valkey import Valkey

Start = Callable[..., Service]


class Unstable:
    """A network that can be away for one process."""

    def __init__(self) -> None:
        self.network = Network()
        self.away = False

    def layer(self, url: str) -> ChannelLayer:
        """Connect."""
        if self.away:
            raise ConnectionError("away")
        return self.network.layer(url)


@pytest.fixture
async def start(empty_valkey: Valkey) -> AsyncIterator[Start]:
    """A way to run services."""
    running: list[asyncio.Task[None]] = []

    async def start_one(network: Network | Unstable, **changes: object) -> Service:
        settings = Settings(
            redis_url=empty_valkey.url,
            channel_layer_urls=("redis://in-memory",),
            broadcast_secret="b",
            ticket_secret=TICKET_SECRET,
            heartbeat_seconds=0.1,
            pulse_seconds=0.05,
            beacon_seconds=0.05,
            redis_timeout_seconds=1,
        )
        service = Service(dataclasses.replace(settings, **changes), make_layer=network.layer)
        running.append(asyncio.create_task(service.run()))
        async with asyncio.timeout(5):
            while not service.ready:
                await asyncio.sleep(0.005)
        return service

    yield start_one
    for task in running:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def user() -> str:
    """Somebody's id."""
    return str(uuid.uuid4())


@pytest.fixture
def course() -> str:
    """The topic of a course that nothing ever happened to."""
    return topics.course(uuid.uuid4())


async def eventually(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_the_layer_loses_every_client_hears_everything_once_and_in_order(
    start: Start, user: str, course: str, seed: int
):
    network = Network(seed, loss=0.4, doubling=0.2, shuffling=0.01)
    services = [await start(network), await start(network)]
    id_ = course.partition(":")[2]
    clients: list[Connection] = []
    for seq in range(1, 61):
        await services[seq % 2].take([make_parcel(seq, topic=course)], [])
        if seq % 10 == 0:
            client = Connection(services[(seq // 10) % 2], ticket(user, {course: seq}))
            client.send("subscribe", topic=course, since=0)
            clients.append(client)
    await eventually(lambda: all(client.events(id_)[-1:] == [60] for client in clients))
    assert network.lost > 0
    for client in clients:
        assert client.events(id_) == list(range(1, 61))
        assert client.said("resync") == []


async def test_a_lost_last_event_comes_with_the_next_heartbeat(start: Start, user: str, course: str):
    network = Network(loss=1)
    one, two = await start(network), await start(network)
    client = Connection(two, ticket(user, [course]))
    client.send("subscribe", topic=course, since=0)
    await client.wait_for("subscribed", 2)
    await one.take([make_parcel(1, topic=course)], [])
    await eventually(lambda: client.events(course.partition(":")[2]) == [1])
    beat = await client.wait_for("heartbeat", len(client.said("heartbeat")) + 1)
    assert beat["positions"][course] == 1


async def test_what_is_healed_is_not_counted_as_lost(start: Start, user: str, course: str):
    network = Network(loss=1)
    one, two = await start(network), await start(network)
    client = Connection(two, ticket(user, [course]))
    client.send("subscribe", topic=course, since=0)
    await client.wait_for("subscribed", 2)
    for seq in range(1, 6):
        await one.take([make_parcel(seq, topic=course)], [])
        await eventually(lambda seq=seq: client.events(course.partition(":")[2])[-1:] == [seq])
        await client.wait_for("heartbeat", len(client.said("heartbeat")) + 1)
    heals = {sample.labels["outcome"] for metric in two.metrics.heals.collect() for sample in metric.samples}
    assert heals == {"healed"}


async def test_subscriptions_under_constant_publishing_have_no_gap_and_no_double(start: Start, course: str):
    service = await start(Network())
    id_ = course.partition(":")[2]

    async def publish() -> None:
        for seq in range(1, 301):
            await service.take([make_parcel(seq, topic=course)], [])

    publishing = asyncio.create_task(publish())
    clients: list[tuple[Connection, int]] = []
    while not publishing.done():
        last = (await service.history.positions([course])).get(course, 0)
        client = Connection(service, ticket(str(uuid.uuid4()), {course: last}))
        client.send("subscribe", topic=course, since=max(last - 5, 0))
        clients.append((client, max(last - 5, 0)))
        await asyncio.sleep(0.01)
    await publishing
    await eventually(lambda: all(client.events(id_)[-1:] == [300] for client, _ in clients[:-1]))
    assert len(clients) > 5
    for client, since in clients[:-1]:
        assert client.events(id_) == list(range(since + 1, 301))


async def test_the_same_event_posted_to_two_processes_at_once_is_heard_once(start: Start, user: str, course: str):
    network = Network()
    services = [await start(network), await start(network)]
    client = Connection(services[0], ticket(user, [course]))
    client.send("subscribe", topic=course, since=0)
    await client.wait_for("subscribed", 2)
    for seq in range(1, 21):
        taken = await asyncio.gather(*(s.take([make_parcel(seq, topic=course)], []) for s in services))
        assert sorted(taken) == [0, 1]
    await eventually(lambda: len(client.events(course.partition(":")[2])) >= 20)
    assert client.events(course.partition(":")[2]) == list(range(1, 21))


async def test_an_accepted_event_whose_sender_died_before_sending_it_on_comes_with_its_repetition(
    start: Start, user: str, course: str
):
    network = Network()
    service = await start(network, heartbeat_seconds=60)
    client = Connection(service, ticket(user, [course]))
    client.send("subscribe", topic=course, since=0)
    await client.wait_for("subscribed", 2)
    parcel = make_parcel(1, topic=course)
    await service.history.append([parcel], now_ms=service.now_ms())
    assert await service.take([parcel], []) == 1
    assert client.events(course.partition(":")[2]) == [1]


async def test_a_gap_in_what_is_posted_takes_nothing(start: Start, course: str):
    service = await start(Network())
    await service.take([make_parcel(1, topic=course)], [])
    with pytest.raises(Gaps):
        await service.take([make_parcel(3, topic=course)], [Revocation("a", None, 1)])
    assert len(service.revocations) == 0


async def test_withdrawn_access_is_heard_by_other_processes_even_if_the_layer_loses_it(
    start: Start, user: str, course: str
):
    network = Network()
    one, two = await start(network), await start(network)
    client = Connection(two, ticket(user, [course]))
    client.send("subscribe", topic=course)
    await client.wait_for("subscribed", 2)
    network.group_send = lambda group, message: None
    await one.take([], [Revocation(user, course, one.now_ms())])
    assert (await client.wait_for("unsubscribed", seconds=1))["code"] == "access_withdrawn"


async def test_withdrawn_access_is_heard_by_other_processes_before_they_look_for_it(
    start: Start, user: str, course: str
):
    network = Network()
    one, two = await start(network), await start(network, pulse_seconds=60)
    client = Connection(two, ticket(user, [course]))
    client.send("subscribe", topic=course)
    await client.wait_for("subscribed", 2)
    await one.take([], [Revocation(user, course, one.now_ms())])
    assert (await client.wait_for("unsubscribed", seconds=5))["code"] == "access_withdrawn"


async def test_after_a_flush_withdrawals_are_read_from_the_first_whatever_the_server_counts_from(
    start: Start, empty_valkey: Valkey
):
    service = await start(Network())
    by_a_clock_that_was_ahead = "9999999999999-0"
    empty_valkey.client.xadd("coursehub:control", {"r": Revocation("a", None, 1).encode()}, by_a_clock_that_was_ahead)
    await eventually(lambda: len(service.revocations) == 1)
    empty_valkey.client.flushall()
    await eventually(lambda: empty_valkey.client.xlen("coursehub:control") > 0)
    await service.history.append([], withdrawn=[Revocation("b", None, 1)], now_ms=service.now_ms())
    await eventually(lambda: len(service.revocations) == 2)


async def test_a_flush_does_not_let_withdrawn_access_be_forgotten(
    start: Start, empty_valkey: Valkey, user: str, course: str
):
    network = Network()
    one = await start(network)
    old = ticket(user, [course])
    await one.take([], [Revocation(user, course, one.now_ms())])
    empty_valkey.client.flushall()
    await eventually(lambda: empty_valkey.client.xlen("coursehub:control") > 0)
    late = await start(network)
    client = Connection(late, old)
    assert course not in (await client.wait_for("welcome"))["topics"]


async def test_a_resubscription_that_fails_leaves_the_subscription_as_it_was(start: Start, user: str, course: str):
    service = await start(Network())
    client = Connection(service, ticket(user, [course]))
    client.send("subscribe", topic=course, since=0)
    await client.wait_for("subscribed", 2)
    reading = service.history.read

    async def fail(*_: object, **__: object) -> None:
        await service.take([make_parcel(1, topic=course)], [])
        raise Unavailable

    service.history.read = service.history.positions = fail
    client.send("subscribe", topic=course, since=0)
    assert (await client.wait_for("error"))["code"] == "unavailable"
    service.history.read = reading
    await service.take([make_parcel(2, topic=course)], [])
    assert client.events(course.partition(":")[2]) == [1, 2]


async def test_a_client_that_comes_while_the_history_is_away_is_sent_away(start: Start, user: str):
    service = await start(Network())

    async def fail(*_: object, **__: object) -> None:
        raise Unavailable

    service.history.read = service.history.positions = fail
    client = Connection(service, ticket(user))
    closing = await client.wait_for("closing")
    assert (closing["code"], client.closed_with) == (4201, 4201)
    assert closing["retryAfterMs"] >= 500
    assert len(service.clients) == 0


async def test_progress_does_not_come_after_a_completion_that_was_replayed(start: Start, user: str, course: str):
    network = Network()
    one, two = await start(network), await start(network)
    upload = {"topic": course, "operation_id": "o9", "uploadId": "u1"}
    await one.take([make_parcel(1, type_="upload-complete", **upload)], [])
    client = Connection(two, ticket(user, [course]))
    client.send("subscribe", topic=course, since=0)
    assert (await client.wait_for("subscribed", 2))["replayed"] == 1
    late = make_parcel(None, type_="upload-progress", **upload)
    current = make_parcel(None, type_="upload-progress", topic=course, operation_id="o10", uploadId="u2")
    await one.take([late, current], [])
    progress = await client.wait_for("upload-progress")
    assert progress["operationId"] == "o10"
    assert len(client.said("upload-progress")) == 1


async def test_progress_from_before_a_layer_was_back_does_not_come_after_its_completion(
    start: Start, user: str, course: str
):
    unstable = Unstable()
    network = unstable.network
    one, two = await start(unstable), await start(network)
    (node,) = one._layers.nodes
    unstable.away, node._broken = True, True
    await eventually(lambda: not node._carries.is_set())
    upload = {"operation_id": "save-1", "topic": course, "uploadId": "u"}
    one.pass_on([make_parcel(None, type_="upload-progress", **upload)])
    await one.take([make_parcel(1, type_="upload-complete", **upload)], [])
    client = Connection(two, ticket(user, {course: 1}))
    client.send("subscribe", topic=course, since=1)
    await client.wait_for("subscribed", 2)
    unstable.away = False
    await eventually(node._carries.is_set)
    one.pass_on([make_parcel(None, type_="video-upload-progress", operation_id="save-2", topic=course)])
    await client.wait_for("video-upload-progress")
    assert client.said("upload-progress") == []


async def test_who_says_to_have_seen_more_than_there_is_silences_nobody(start: Start, user: str, course: str):
    service = await start(Network(), heartbeat_seconds=60)
    liar = Connection(service, ticket(user, {course: 5}))
    for count, answer in enumerate(("resync", "subscribed")):
        liar.send("subscribe", topic=course, since=2**53 - 1)
        await liar.wait_for(answer, 1 + count)
    await service.take([make_parcel(6, topic=course)], [])
    honest = Connection(service, ticket(str(uuid.uuid4()), {course: 5}))
    honest.send("subscribe", topic=course, since=5)
    assert (await honest.wait_for("subscribed", 2))["replayed"] == 1
    for seq in (7, 8):
        await service.take([make_parcel(seq, topic=course)], [])
    assert honest.events(course.partition(":")[2]) == [6, 7, 8]
    assert honest.said("resync") == []


async def test_access_withdrawn_while_a_subscription_begins_leaves_nothing_behind(start: Start, user: str, course: str):
    service = await start(Network())
    client = Connection(service, ticket(user, [course]))
    await client.wait_for("subscribed")
    reading = service.history.read

    async def withdraw_meanwhile(*arguments: object, **more: object):
        await service.take([], [Revocation(user, course, service.now_ms())])
        return await reading(*arguments, **more)

    service.history.read = withdraw_meanwhile
    client.send("subscribe", topic=course, since=0)
    assert (await client.wait_for("unsubscribed"))["code"] == "access_withdrawn"
    await asyncio.sleep(0.05)
    await service.take([make_parcel(1, topic=course)], [])
    assert client.events(course.partition(":")[2]) == []
    assert service.hub.listener_count(course) == 0


async def test_who_leaves_leaves_nothing_behind(start: Start, user: str, course: str):
    network = Network()
    service = await start(network)
    client = Connection(service, ticket(user, [course]))
    client.send("subscribe", topic=course)
    await client.wait_for("subscribed", 2)
    await client.leave()
    assert (len(service.clients), service.hub.topics()) == (0, [])
    await eventually(lambda: not network.members(course.replace(":", ".")))


async def test_progress_to_a_client_that_does_not_read_stays_small(start: Start, user: str, course: str):
    service = await start(Network(), heartbeat_seconds=60)
    client = Connection(service, ticket(user, [course]), capacity_bytes=2000)
    client.send("subscribe", topic=course, since=0)
    await client.wait_for("subscribed", 2)
    client.outlet.pauseProducing()
    for number in range(1000):
        progress = make_parcel(None, topic=course, type_="upload-progress", videoId="v", progress=number)
        await service.take([progress], [])
    service.turn.flush()
    client.outlet.resumeProducing()
    assert [f["data"]["progress"] for f in client.said("upload-progress")] == [999]
    assert client.closed_with is None


async def test_a_client_that_does_not_read_is_closed_with_4101(start: Start, user: str, course: str):
    service = await start(Network())
    client = Connection(service, ticket(user, [course]), capacity_bytes=2000)
    other = Connection(service, ticket(user, [course]))
    for each in (client, other):
        each.send("subscribe", topic=course, since=0)
        await each.wait_for("subscribed", 2)
    client.outlet.pauseProducing()
    for seq in range(1, 31):
        await service.take([make_parcel(seq, topic=course)], [])
    assert client.closed_with == 4101
    assert client.said("closing")[0]["code"] == 4101
    assert other.events(course.partition(":")[2]) == list(range(1, 31))


async def resume_three(start: Start, user: str) -> tuple[Service, Connection, list[str]]:
    """Let a client resume three topics whose replays do not fit into its buffer together."""
    service = await start(Network(), heartbeat_seconds=60)
    courses = [topics.course(uuid.uuid4()) for _ in range(3)]
    for course in courses:
        await service.take([make_parcel(seq, topic=course, text="x" * 800) for seq in range(1, 101)], [])
    client = Connection(service, ticket(user, courses), capacity_bytes=110_000)
    await client.wait_for("subscribed")
    client.transport.pause_after = 1
    for course in courses:
        client.send("subscribe", topic=course, since=0)
    await client.wait_for("subscribed", 2)
    return service, client, courses


async def test_a_client_that_reads_may_resume_more_topics_than_its_buffer_holds(start: Start, user: str):
    _, client, courses = await resume_three(start, user)
    await asyncio.sleep(0.05)
    assert len(client.said("subscribed")) == 2
    while len(client.said("subscribed")) < 4:
        client.outlet.resumeProducing()
        await asyncio.sleep(0.002)
    await eventually(lambda: not client.outlet.resumeProducing() and not client.outlet.waiting_bytes)
    assert client.closed_with is None
    assert [client.events(course.partition(":")[2]) for course in courses] == [list(range(1, 101))] * 3


async def test_what_is_withdrawn_while_a_client_reads_is_not_listened_to(start: Start, user: str):
    service, client, courses = await resume_three(start, user)
    await service.take([], [Revocation(user, courses[1], service.now_ms())])
    while len(client.said("subscribed")) < 3:
        client.outlet.resumeProducing()
        await asyncio.sleep(0.002)
    assert service.hub.listener_count(courses[1]) == 0
    await client.leave()
    assert service.hub.listener_count() == 0


async def test_the_ticket_of_a_silent_client_expires(start: Start, user: str):
    service = await start(Network(), expiring_seconds=0.2)
    soon = ticket(user, now_ms=service.now_ms() - 600_000 + 400)
    client = Connection(service, soon)
    await client.wait_for("expiring", seconds=2)
    assert (await client.wait_for("closing", seconds=2))["code"] == 4002


async def test_heartbeats_do_not_vouch_for_what_could_not_be_checked(start: Start, user: str, course: str):
    service = await start(Network())
    client = Connection(service, ticket(user, [course]))
    client.send("subscribe", topic=course, since=0)
    await client.wait_for("subscribed", 2)

    async def fail(*_: object) -> None:
        raise Unavailable

    service.history.positions = fail
    beats = len(client.said("heartbeat"))
    beat = await client.wait_for("heartbeat", beats + 2)
    assert beat["positions"] == {}
