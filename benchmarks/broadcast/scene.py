"""A process with clients that behave, beside whom others misbehave: what is measured of it, and what it counts."""

import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import cycle

import psutil

from benchmarks.broadcast import wire
from benchmarks.broadcast.audience import KINDS
from benchmarks.broadcast.bench import Bench
from benchmarks.broadcast.loader import Loader, Posted
from benchmarks.broadcast.peers.base import PeerFailed
from benchmarks.broadcast.peers.ours import CourseHub
from benchmarks.broadcast.wire import EVENT_BYTES, Event, Opening, Post
from broadcast.config import Settings

GOOD, RATE = 500, 50
MANNERS = f"manners: {GOOD} clients, {RATE} events/s for them, and others without manners"
BEFORE, DURING, RATIO, LOST = "p99 before", "p99", "p99 to before", "lost or late"
GROWN, COUNTED = "memory at most, more than before", "counted"
BOUND_MB = 101 * 1.25
"""What 101 clients that do not read may have waiting, with what it takes to keep that."""
_LIMITS = "connections_per_", "connects_per_", "topics_per_", "subscribes_per_", "frames_per_"
_COUNTERS = "connections_closed", "upgrades_refused", "limited"
_LONGEST_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Span:
    """What was measured over a time: what the clients heard, and the most memory that the process had."""

    posted: Posted
    memory_bytes: int


@dataclass(slots=True)
class Scene:
    """
    One process of ours, and the clients that behave, who hear the first of ``topics``.

    The others hear the rest, whose events are ``event_bytes`` long. Events go to the first topic and the rest in turn.
    """

    bench: Bench
    peer: CourseHub
    topics: list[str]
    event_bytes: int = EVENT_BYTES
    _numbers: int = 0
    _seqs: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def others(self, clients: int, *, on_topics: int, event_bytes: int) -> Iterator[Loader]:
        """Have others, evenly on topics of their own, who behave as yet."""
        self.topics += _names(on_topics)
        self.event_bytes = event_bytes
        with Loader() as loader:
            loader.open(self.peer.port, [self.opening(number) for number in range(clients)]).insist()
            yield loader

    def opening(self, number: int) -> Opening:
        """Say how the ``number``-th of the others connects."""
        rest = self.topics[1:] or self.topics
        return self.peer.opening(GOOD + number, [rest[number % len(rest)]])

    def measure(self, at_least_seconds: float = 0) -> Span:
        """Post to all topics, and see what those that behave hear, and when."""
        seconds = max(at_least_seconds, 2 * self.bench.effort.seconds)
        rate = RATE * (1 if len(self.topics) == 1 else 2)
        events = self._events(int(seconds * rate))
        posts = [Post(self.peer.post([event]), event.number, 1, self._deliveries(event)) for event in events]
        with _Peak(self.peer) as peak:
            posted = self.bench.loader.post(self.peer.port, posts, seconds=seconds, connections=1, rate=rate)
        self._take_back(events[posted.events :])
        if posted.rejected:
            raise PeerFailed(f"{posted.rejected} of {posted.requests} posts were refused: {posted.status}")
        return Span(posted, peak.bytes)

    def counted(self) -> dict[str, float]:
        """Read from the metrics how often what was closed, refused or limited, by kind and reason."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.peer.port}/metrics", timeout=30) as response:
            lines = response.read().decode().splitlines()
        found = {}
        for line in lines:
            name, _, value = line.rpartition(" ")
            kind = name.partition("{")[0].removeprefix("coursehub_").removesuffix("_total")
            if kind in _COUNTERS and float(value):
                found[f"{kind} {name.split(chr(34))[1]}"] = float(value)
        return found

    def wait_until_counted(self, name: str, count: int) -> None:
        """
        Wait until the metrics have counted so many.

        Raises:
            PeerFailed: they do not.
        """
        deadline = time.monotonic() + _LONGEST_SECONDS
        while (found := self.counted()).get(name, 0) < count:
            if time.monotonic() > deadline:
                raise PeerFailed(f"{name}: {count} were expected, and found {found}")
            time.sleep(0.2)

    def note(self, who: str, before: Span, during: Span) -> None:
        """Note what the others did to those that behave, and to the process."""
        note, p99_before, p99 = self.bench.figures.note, before.posted.p99_us / 1000, during.posted.p99_us / 1000
        note(MANNERS, BEFORE, who, p99_before, "ms")
        note(MANNERS, DURING, who, p99, "ms")
        note(MANNERS, RATIO, who, p99 / p99_before, "×")
        posted = during.posted
        note(
            MANNERS, LOST, who, posted.expected - posted.deliveries + posted.lost + posted.doubled + posted.dropped, ""
        )
        note(MANNERS, GROWN, who, (during.memory_bytes - before.memory_bytes) / 1e6, "MB")
        for name, count in self.counted().items():
            note(MANNERS, f"{COUNTED}: {name}", who, count, "")

    def _events(self, count: int) -> list[Event]:
        rest = cycle(self.topics[1:] or self.topics)
        return [self._event(self.topics[0] if number % 2 == 0 else next(rest)) for number in range(count)]

    def _event(self, topic: str) -> Event:
        self._numbers += 1
        self._seqs[topic] = self._seqs.get(topic, 0) + 1
        size = EVENT_BYTES if topic == self.topics[0] else self.event_bytes
        return Event(topic, self._numbers, self._seqs[topic], size)

    def _deliveries(self, event: Event) -> int:
        return GOOD if event.topic == self.topics[0] else 0

    def _take_back(self, unsent: list[Event]) -> None:
        for event in unsent:
            self._seqs[event.topic] -= 1


class _Peak(threading.Thread):
    """Sees how much memory a process has at most meanwhile, as a context manager."""

    def __init__(self, peer: CourseHub) -> None:
        super().__init__(daemon=True)
        assert peer.process
        self._process, self._over = psutil.Process(peer.process.pid), threading.Event()
        self.bytes = 0

    def __enter__(self) -> "_Peak":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(0.05):
            self.bytes = max(self.bytes, self._process.memory_info().rss)


def patience(bench: Bench) -> tuple[float, float]:
    """Say every how many seconds clients are asked whether they are there, and how long they may take to answer."""
    return (1, 2) if bench.effort.many < 10_000 else (4, 6)


@contextmanager
def gathered(bench: Bench) -> Iterator[Scene]:
    """Start a process with its own limits, and connect the clients that behave."""
    asked, silent = patience(bench)
    more = {"BROADCAST_PING_SECONDS": str(asked), "BROADCAST_PING_TIMEOUT_SECONDS": str(silent), **_own_limits()}
    with bench.ours(more) as peer:
        assert isinstance(peer, CourseHub)
        scene = Scene(bench, peer, _names(1))
        openings = [peer.opening(number, scene.topics) for number in range(GOOD)]
        bench.loader.open(peer.port, openings).insist()
        try:
            scene.measure()
            yield scene
        finally:
            bench.loader.close()


def _own_limits() -> dict[str, str]:
    limits = [one for one in fields(Settings) if one.name.startswith(_LIMITS)]
    return {f"BROADCAST_{one.name.upper()}": str(one.default) for one in limits}


def _names(count: int) -> list[str]:
    kind = next(KINDS)
    return [wire.topic(number, kind) for number in range(count)]
