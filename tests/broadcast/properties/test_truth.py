"""Whatever a channel layer does to messages, and whenever clients come: each hears everything once and in order."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadcast.config import Settings
from broadcast.contracts import topics
from broadcast.service import Service
from tests.support.broadcast_fakes import make_parcel
from tests.support.broadcast_process import TICKET_SECRET, ticket
from tests.support.broadcast_socket import Connection
from tests.support.broadcast_valkey import Valkey
from tests.support.lossy_layer import Fate, FatedNetwork

BOUNDED = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
HEARTBEAT_SECONDS = 0.15


@dataclass
class Publish:
    """Some events, taken by one of the processes."""

    process: int
    count: int


@dataclass
class Come:
    """A client subscribes at one of the processes, having missed some events."""

    process: int
    missed: int


@dataclass
class Resubscribe:
    """A client that is there asks again for some events."""

    client: int
    missed: int


@dataclass
class Follower:
    """A client, and since when it hears the topic; ``answers``: how often it was told where it stands."""

    connection: Connection
    sinces: list[int] = field(default_factory=list)


PROCESSES = st.integers(0, 1)
MISSED = st.integers(0, 12)
DEEDS = st.one_of(
    st.builds(Publish, PROCESSES, st.integers(1, 5)),
    st.builds(Come, PROCESSES, MISSED),
    st.builds(Resubscribe, st.integers(0, 5), MISSED),
)


@contextlib.asynccontextmanager
async def two_processes(valkey: Valkey, network: FatedNetwork) -> AsyncIterator[list[Service]]:
    """Run two services that share a history and a layer."""
    told = Settings(
        redis_url=valkey.url,
        channel_layer_urls=("redis://in-memory",),
        broadcast_secret="b",
        ticket_secret=TICKET_SECRET,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        pulse_seconds=0.05,
        beacon_seconds=0.05,
    )
    services = [Service(told, make_layer=network.layer) for _ in range(2)]
    running = [asyncio.create_task(service.run()) for service in services]
    try:
        async with asyncio.timeout(5):
            while not all(service.ready for service in services):
                await asyncio.sleep(0.005)
        yield services
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)


async def one_heartbeat_later(connection: Connection) -> None:
    """Wait for a heartbeat that began after now: the next one may have been on its way already."""
    await connection.wait_for("heartbeat", len(connection.said("heartbeat")) + 2)


async def play(valkey: Valkey, fates: Sequence[Fate], deeds: Sequence[Publish | Come | Resubscribe]) -> None:
    """Do all this, publishing as clients come and go on, and check what each client heard."""
    course = topics.course(uuid.uuid4())
    async with two_processes(valkey, FatedNetwork(fates)) as services:
        last = 0
        followers: list[Follower] = []
        publishing: set[asyncio.Task[object]] = set()
        for deed in [*deeds, Come(0, 3), Come(1, 3), Publish(0, 1)]:
            match deed:
                case Publish(process, count):
                    parcels = [make_parcel(seq, topic=course) for seq in range(last + 1, last + count + 1)]
                    last += count
                    if publishing:
                        # The sender of a topic's events is one, and waits for the answer; clients do not.
                        await asyncio.wait(publishing)
                    publishing = {asyncio.create_task(services[process].take(parcels, []))}
                case Come(process, missed):
                    connection = Connection(services[process], ticket(str(uuid.uuid4()), {course: last}))
                    followers.append(Follower(connection))
                    subscribe(followers[-1], course, max(last - missed, 0))
                case Resubscribe(client, missed) if followers:
                    subscribe(followers[client % len(followers)], course, max(last - missed, 0))
            await asyncio.sleep(0)
        await asyncio.wait(publishing)
        await asyncio.gather(*(one_heartbeat_later(follower.connection) for follower in followers))
        for follower in followers:
            check(follower, course, last)


def subscribe(follower: Follower, course: str, since: int) -> None:
    """Let a client subscribe."""
    follower.sinces.append(since)
    follower.connection.send("subscribe", topic=course, since=since)


def check(follower: Follower, course: str, last: int) -> None:
    """Read what a client received as the protocol wants it read: from each answer on every seq once, up to the last."""
    expected: int | None = None
    answers = 0
    for frame in follower.connection.frames:
        if frame.get("topic") == course:
            assert frame["type"] in {"subscribed", "resync"}, frame
            if frame["type"] == "subscribed":
                assert frame["replayed"] == max(frame["seq"] - follower.sinces[answers], 0)
                expected = follower.sinces[answers] + 1
            else:
                expected = frame["seq"] + 1
            answers += 1
        elif "data" in frame:
            assert frame["seq"] == expected, (frame["seq"], expected)
            expected += 1
    assert answers == len(follower.sinces)
    assert expected == last + 1


@BOUNDED
@given(fates=st.lists(st.sampled_from(Fate), min_size=1, max_size=40), deeds=st.lists(DEEDS, max_size=25))
def test_every_client_converges_within_one_heartbeat_in_order_and_without_doubles(
    shared_valkey: Valkey, fates: list[Fate], deeds: list[Publish | Come | Resubscribe]
):
    asyncio.run(play(shared_valkey, fates, deeds))


@BOUNDED
@given(before=st.integers(1, 8), process=PROCESSES)
def test_a_last_event_that_is_lost_comes_within_one_heartbeat(shared_valkey: Valkey, before: int, process: int):
    asyncio.run(play(shared_valkey, [Fate.LOST], [Publish(process, before), Come(1 - process, 0), Come(process, 0)]))
