"""
What becomes of Redis while events are posted and heard: no loss, no doubling, no silence.

Two processes reach their Redis by a proxy, which can lead to another one, as an address does after a failover.
"""

import asyncio
import http.client
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from apps.outbox.bridge import BridgeAway, HttpBridge, Outgoing
from broadcast.contracts import events
from tests.broadcast.e2e.conftest import FAST, Start
from tests.support.broadcast_process import BROADCAST_SECRET, Broadcast, Client, Frame, event, ticket
from tests.support.broadcast_valkey import Valkey, free_port
from tests.support.cutting_proxy import CuttingProxy

pytestmark = pytest.mark.e2e

_EVENTS = 40
_PATIENCE_SECONDS = 60


class Sender:
    """Posts a topic's events as the outbox does: in order, again from where the service says, until it takes them."""

    def __init__(self, topic: str, *processes: Broadcast, seed: int = 0) -> None:
        self.posted = self.taken = 0
        self._topic = topic
        self._processes = itertools.cycle(processes)
        self._random = random.Random(seed)
        self._stopped = threading.Event()

    def send_up_to(self, seq: int) -> None:
        """Post until everything up to a seq is taken."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.taken < seq:
            assert time.monotonic() < deadline, f"it stays at {self.taken}"
            self._post(min(self.taken + self._random.randint(1, 4), seq))

    def run(self) -> None:
        """Post until told to stop."""
        while not self._stopped.is_set():
            self.send_up_to(self.taken + 1)

    def stop(self) -> None:
        """Post no more than what was begun."""
        self._stopped.set()

    def wait_for(self, more: int) -> None:
        """Wait until so many more are taken."""
        wanted, deadline = self.taken + more, time.monotonic() + _PATIENCE_SECONDS
        while self.taken < wanted:
            assert time.monotonic() < deadline, f"it stays at {self.taken}"
            time.sleep(0.005)

    def _post(self, last: int) -> None:
        batch = [event(self._topic, seq) for seq in range(self.taken + 1, last + 1)]
        self.posted += len(batch)
        try:
            status, answer = next(self._processes).post(*batch)
        except (OSError, http.client.HTTPException):
            status, answer = 503, {}
        if status == 202:
            self.taken = last
        elif status == 409:
            self.taken = answer["gaps"][0]["expected"] - 1
        else:
            assert status == 503, answer
            time.sleep(0.02)


class Follower:
    """Holds what a client hears against the rule: each event is the next one, or a resync says where to go on."""

    def __init__(self, client: Client, topic: str) -> None:
        self.position = self.resyncs = 0
        self._client, self._topic = client, topic
        self._listening = asyncio.create_task(self._listen())

    async def reach(self, seq: int, *, told: bool) -> None:
        """
        Wait until everything up to a seq was heard, or is to be fetched; raises what was wrong with a frame.

        ``told``: and until there was a resync. A process that hears all from the other notices only with its pulse.
        """
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while (self.position < seq or (told and not self.resyncs)) and not self._listening.done():
                await asyncio.sleep(0.01)
        if self._listening.done():
            self._listening.result()
        self._listening.cancel()

    async def _listen(self) -> None:
        while True:
            self._take(await self._client.receive(seconds=_PATIENCE_SECONDS))

    def _take(self, frame: Frame) -> None:
        if "data" in frame:
            assert frame["seq"] == self.position + 1
            self.position += 1
        elif frame["type"] == "resync" and frame["topic"] == self._topic:
            assert frame["seq"] >= self.position
            self.position, self.resyncs = frame["seq"], self.resyncs + 1
        else:
            assert frame["type"] in ("heartbeat", "resync"), frame


class World:
    """A Redis, the proxy before it, and another Redis that may take its place."""

    def __init__(self) -> None:
        self.redis, self.other = _valkey(), _valkey()
        self.proxy = CuttingProxy(self.redis.path)
        self.url = f"redis://127.0.0.1:{self.proxy.port}"

    def fail_over(self) -> None:
        """Have the other one take the place, for good; the first is gone."""
        self.proxy.lead_to(self.other.path)
        self.redis.close()
        self.redis, self.other = self.other, _valkey()

    def close(self) -> None:
        """End all."""
        self.proxy.close()
        self.redis.close()
        self.other.close()


def _valkey() -> Valkey:
    return Valkey(port=free_port()).start()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture(scope="module")
def processes(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Broadcast]]:
    """Two processes on one Redis, whatever becomes of it."""
    logs = tmp_path_factory.mktemp("logs")
    both = [Broadcast(world.url, logs / f"broadcast-{number}.log", **FAST) for number in range(2)]
    for process in both:
        process.start()
    yield both
    for process in both:
        process.stop()


Trouble = Callable[[World, Callable[[], None]], None]
"""Does something to a Redis under traffic; by what it is given it waits until more events are taken."""


def nothing(world: World, wait: Callable[[], None]) -> None:
    """See that the test itself holds."""


def restarted(world: World, wait: Callable[[], None]) -> None:
    world.redis.kill()
    world.redis.start()


def flushed(world: World, wait: Callable[[], None]) -> None:
    world.redis.client.flushall()


def cut_off(world: World, wait: Callable[[], None]) -> None:
    world.proxy.go_away()
    time.sleep(1)
    world.proxy.come_back()


def hanging(world: World, wait: Callable[[], None]) -> None:
    world.redis.pause()
    time.sleep(1)
    world.redis.resume()


def slow(world: World, wait: Callable[[], None]) -> None:
    world.proxy.delay_seconds = 0.1
    wait()
    world.proxy.delay_seconds = 0


def too_slow(world: World, wait: Callable[[], None]) -> None:
    world.proxy.delay_seconds = 1
    time.sleep(2)
    world.proxy.delay_seconds = 0


def full(world: World, wait: Callable[[], None]) -> None:
    world.redis.client.config_set("maxmemory-policy", "noeviction")
    world.redis.client.config_set("maxmemory", "1")
    time.sleep(1)
    world.redis.client.config_set("maxmemory", "0")


def replaced_by_an_empty_one(world: World, wait: Callable[[], None]) -> None:
    world.fail_over()


def failed_over(world: World, wait: Callable[[], None]) -> None:
    world.other.follow(world.redis)
    wait()
    assert world.redis.client.wait(1, 5000) == 1
    world.other.promote()
    world.fail_over()


def failed_over_to_one_that_was_behind(world: World, wait: Callable[[], None]) -> None:
    world.other.follow(world.redis)
    world.other.promote()
    wait()
    world.fail_over()


FORGETS = [restarted, flushed, replaced_by_an_empty_one, failed_over, failed_over_to_one_that_was_behind]
REMEMBERS = [nothing, cut_off, hanging, slow, too_slow, full]


@pytest.mark.parametrize("trouble", FORGETS + REMEMBERS, ids=lambda trouble: trouble.__name__)
async def test_whatever_becomes_of_redis_clients_hear_everything_or_are_told(
    world: World, processes: list[Broadcast], user: str, course: str, trouble: Trouble
):
    for process in processes:
        process.wait_for(200)
    sender = Sender(course, *processes)
    granted = ticket(user, {course: 0})
    async with processes[0].client(granted) as one, processes[1].client(granted) as two:
        for client in (one, two):
            # The trouble before this one may have begun another history since the ticket was made.
            assert (await client.subscribe(course, 0))["type"] in ("subscribed", "resync")
        followers = [Follower(client, course) for client in (one, two)]
        sending = asyncio.create_task(asyncio.to_thread(sender.run))
        await asyncio.to_thread(sender.wait_for, _EVENTS)
        await asyncio.to_thread(trouble, world, lambda: sender.wait_for(_EVENTS))
        await asyncio.to_thread(sender.wait_for, _EVENTS)
        sender.stop()
        await sending
        for follower in followers:
            await follower.reach(sender.taken, told=trouble in FORGETS)
    told = [follower.resyncs > 0 for follower in followers]
    assert told == [trouble in FORGETS] * 2


async def test_a_full_redis_is_refused_for_now_and_read_as_ever(
    world: World, processes: list[Broadcast], user: str, course: str
):
    process = processes[0]
    process.wait_for(200)
    process.post(event(course, 1))
    world.redis.client.config_set("maxmemory", "1")
    assert process.post(event(course, 2))[0] == 503
    async with process.client(ticket(user, {course: 1})) as client:
        assert (await client.subscribe(course, 0))["replayed"] == 1
        assert (await client.receive_events(1))[0]["seq"] == 1
        world.redis.client.config_set("maxmemory", "0")
        assert process.post(event(course, 2))[0] == 202
        assert (await client.receive_events(1))[0]["seq"] == 2


def test_a_redis_that_has_become_a_replica_makes_the_process_unready(
    world: World, processes: list[Broadcast], course: str
):
    process = processes[0]
    process.wait_for(200)
    world.redis.client.replicaof("127.0.0.1", "1")
    try:
        process.wait_for(503)
        assert process.post(event(course, 1))[0] == 503
    finally:
        world.redis.client.replicaof("NO", "ONE")
    process.wait_for(200)
    assert process.post(event(course, 1))[0] == 202


async def test_a_post_that_was_taken_and_not_answered_is_heard_once(start: Start, user: str, course: str):
    """The bridge's real client gives up after a second; what it posts again is known."""
    broadcast = start()
    proxy = CuttingProxy(broadcast.port)
    bridge = HttpBridge(f"http://127.0.0.1:{proxy.port}", BROADCAST_SECRET)
    batch = [Outgoing(course, _body(course, seq)) for seq in (1, 2)]
    try:
        async with broadcast.client(ticket(user, {course: 0})) as client:
            await client.subscribe(course, 0)
            proxy.swallows_answers = True
            with pytest.raises(BridgeAway):
                await asyncio.to_thread(bridge.post, batch)
            assert [e["seq"] for e in await client.receive_events(2)] == [1, 2]
            proxy.swallows_answers = False
            await asyncio.to_thread(bridge.post, [*batch, Outgoing(course, _body(course, 3))])
            assert [e["seq"] for e in await client.receive_events(1)] == [3]
    finally:
        bridge.close()
        proxy.close()


async def test_two_senders_of_one_topic_at_once_make_one_order(start: Start, user: str, course: str):
    """Each posts all events by the rule, to both processes; whatever overlaps is a duplicate."""
    both = [start(), start()]
    senders = [Sender(course, *both, seed=1), Sender(course, *reversed(both), seed=2)]
    async with both[0].client(ticket(user, {course: 0})) as one, both[1].client(ticket(user, {course: 0})) as two:
        for client in (one, two):
            await client.subscribe(course, 0)
        await asyncio.gather(*(asyncio.to_thread(sender.send_up_to, _EVENTS) for sender in senders))
        for client in (one, two):
            assert [e["seq"] for e in await client.receive_events(_EVENTS)] == list(range(1, _EVENTS + 1))
    assert sum(sender.posted for sender in senders) > _EVENTS


async def test_a_process_killed_under_traffic_is_missed_by_nobody(start: Start, user: str, course: str):
    doomed, other = start(), start()
    sender = Sender(course, doomed, other)
    async with other.client(ticket(user, {course: 0})) as client:
        await client.subscribe(course, 0)
        async with doomed.client(ticket(user, {course: 0})) as orphan:
            await orphan.subscribe(course, 0)
            sending = asyncio.create_task(asyncio.to_thread(sender.send_up_to, _EVENTS))
            heard = [e["seq"] for e in await orphan.receive_events(_EVENTS // 4)]
            doomed.stop()
            heard += [frame["seq"] for frame in await _rest(orphan)]
        await sending
        assert [e["seq"] for e in await client.receive_events(_EVENTS)] == list(range(1, _EVENTS + 1))
    async with other.client(ticket(user, {course: _EVENTS})) as again:
        await again.subscribe(course, heard[-1])
        heard += [e["seq"] for e in await again.receive_events(_EVENTS - heard[-1])]
    assert heard == list(range(1, _EVENTS + 1))


async def _rest(client: Client) -> list[dict[str, object]]:
    """Receive the events that were on their way when a connection broke."""
    frames = []
    try:
        while True:
            frames.append(await client.receive())
    except Exception:  # the connection's end, however it shows
        return [frame for frame in frames if "data" in frame]


def _body(topic: str, seq: int) -> str:
    return events.encode({name: value for name, value in event(topic, seq).items() if name != "topic"}).decode()
