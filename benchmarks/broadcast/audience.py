"""Clients on a server, the events they get, and what each delivery costs."""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.broadcast import wire
from benchmarks.broadcast.bench import Bench
from benchmarks.broadcast.loader import LoadFailed, Posted
from benchmarks.broadcast.peers.base import Peer
from benchmarks.broadcast.wire import Event, Post

_DELIVERIES_A_SECOND = 1_500_000
_POSTS_A_SECOND = 60_000
_POSTS_AGAIN = 2_000
"""More than any server here reaches: as much is made ready, because signing does not belong to what is measured."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was posted and delivered, and the CPU seconds that the server and Valkey used for it."""

    posted: Posted
    cpu_seconds: float
    redis_cpu_seconds: float

    @property
    def deliveries_a_second(self) -> float:
        return self.posted.deliveries / self.posted.seconds

    @property
    def events_a_second(self) -> float:
        return self.posted.events / self.posted.seconds

    @property
    def cpu_us_a_delivery(self) -> float:
        return self.cpu_seconds / max(self.posted.deliveries, 1) * 1e6

    @property
    def cpu_us_an_event(self) -> float:
        return self.cpu_seconds / max(self.posted.events, 1) * 1e6

    @property
    def redis_us_an_event(self) -> float:
        return self.redis_cpu_seconds / max(self.posted.events, 1) * 1e6

    @property
    def missing(self) -> int:
        """How many deliveries never came."""
        return self.posted.expected - self.posted.deliveries


class Audience:
    """
    Clients of one server, evenly on ``topics``, with so many ``subscribers`` each.

    Events go to the topics in turn, a batch to one of them, or ``mixed`` to as many as it has events; durable ones each
    with its topic's next seq.
    """

    def __init__(self, bench: Bench, peer: Peer, topics: Sequence[str], subscribers: int) -> None:
        self._bench, self.peer = bench, peer
        self._topics, self._subscribers = topics, subscribers
        self._numbers = self._turns = 0
        self._seqs = [0] * len(topics)

    def measure(
        self,
        *,
        seconds: float | None = None,
        window: int = 1,
        connections: int | None = None,
        rate: float = 0,
        batch: int = 1,
        mixed: bool = False,
        durable: bool = True,
        again: bool = False,
    ) -> Measured:
        """
        Post for so long, and see what it costs. The other arguments are those of `Loader.post`.

        Raises:
            LoadFailed: something was refused.
        """
        bench, peer = self._bench, self.peer
        seconds = bench.effort.seconds if seconds is None else seconds
        count = self._needed(seconds, rate, batch, again)
        batches = [self._batch(batch, durable, mixed=mixed) for _ in range(count)]
        posts = [Post(peer.post(events), events[0].number, batch, batch * self._subscribers) for events in batches]
        cpu, redis_cpu = peer.cpu_seconds(), bench.redis_cpu_seconds()
        posted = bench.loader.post(
            peer.port,
            posts,
            seconds=seconds,
            connections=connections or max(window, 1),
            window=window,
            rate=rate,
            again=again,
        )
        measured = Measured(posted, peer.cpu_seconds() - cpu, bench.redis_cpu_seconds() - redis_cpu)
        if posted.rejected:
            raise LoadFailed(f"{peer.name} refused {posted.rejected} of {posted.requests} posts: {posted.status}")
        if durable:
            self._take_back(batches[posted.requests :])
        return measured

    def post_all(self, batch: int) -> None:
        """
        Post one batch of durable events to each topic.

        Raises:
            LoadFailed: something was refused.
        """
        batches = [self._batch(batch, True) for _ in self._topics]
        posts = [Post(self.peer.post(events), events[0].number, batch, 0) for events in batches]
        posted = self._bench.loader.post(self.peer.port, posts, seconds=60, connections=4)
        if posted.accepted != len(posts):
            raise LoadFailed(f"{self.peer.name} took {posted.accepted} of {len(posts)} posts: {posted.status}")

    def _needed(self, seconds: float, rate: float, batch: int, again: bool) -> int:
        if rate:
            return math.ceil(rate * seconds)
        if again:
            return _POSTS_AGAIN
        most = _DELIVERIES_A_SECOND / (self._subscribers or 1) / batch
        return math.ceil(min(most, _POSTS_A_SECOND) * seconds) + 10

    def _batch(self, size: int, durable: bool, *, mixed: bool = False) -> list[Event]:
        events = []
        for number in range(size):
            if mixed or not number:
                place = self._turns % len(self._topics)
                self._turns += 1
            self._seqs[place] += durable
            seq = self._seqs[place] if durable else None
            events.append(Event(self._topics[place], self._numbers, seq))
            self._numbers += 1
        return events

    def _take_back(self, unsent: Sequence[Sequence[Event]]) -> None:
        """Go on from what was posted: a topic's seq leaves nothing out."""
        places = {topic: place for place, topic in enumerate(self._topics)}
        for event in reversed([event for events in unsent for event in events]):
            self._seqs[places[event.topic]] = (event.seq or 1) - 1
            self._numbers = event.number
            self._turns = places[event.topic]


@contextmanager
def gathered(bench: Bench, peer: Peer, *, clients: int, topics: int = 1, warm_up: bool = True) -> Iterator[Audience]:
    """Start a server, and connect clients that hear one topic each. ``warm_up`` False: nothing was posted yet."""
    # The kind differs from run to run: the history in Valkey outlives a server.
    kind = next(KINDS)
    names = [wire.topic(number, kind) for number in range(topics)]
    with peer:
        bench.loader.open(
            peer.port, [peer.opening(number, [names[number % topics]]) for number in range(clients)]
        ).insist()
        try:
            audience = Audience(bench, peer, names, clients // topics)
            if warm_up:
                audience.measure(seconds=bench.effort.seconds / 5)
            yield audience
        finally:
            bench.loader.close()


KINDS = itertools.count(16)
"""Numbers for topics, so that those of a run are its own."""
