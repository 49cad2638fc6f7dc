"""Scenarios of clients that come, stay and come back: connecting, memory, resuming."""

import time

from benchmarks.broadcast import wire
from benchmarks.broadcast.audience import Audience
from benchmarks.broadcast.bench import Bench, Limit
from benchmarks.broadcast.loader import Opened
from benchmarks.broadcast.peers.base import Peer
from benchmarks.broadcast.peers.others import Stock
from benchmarks.broadcast.peers.ours import CourseHub

MEMORY = "memory of an idle connection that hears two topics"
AT_ONCE = 1_000
COURSES = 100
IDLE, IDLE_STOCK = 5_000, 1_000
MISSED, RESUMED_COURSES, POSTED_AT_ONCE = 100, 1_000, 100
_SETTLE_SECONDS = 1.0


def connecting_title(clients: int) -> str:
    """Name the scenario of so many clients that connect."""
    return f"{clients:,} clients connecting, {AT_ONCE:,} at a time, and again after a restart"


def resuming_title(clients: int) -> str:
    """Name the scenario of so many clients that resume."""
    return f"{clients:,} clients resuming after a restart, {MISSED} missed events each"


def connecting(bench: Bench) -> None:
    """Measure many clients that connect at once, and again when the server was killed and started anew."""
    clients = bench.at_most(bench.effort.many)
    scenario = connecting_title(clients)
    for name, make in bench.makers.items():
        if name == Stock.name:
            continue
        with make() as peer:
            _note_connecting(bench, scenario, peer, clients, "")
            peer.stop()
            bench.loader.close()
            peer.start()
            _note_connecting(bench, scenario, peer, clients, " again")
            bench.loader.close()


def _note_connecting(bench: Bench, scenario: str, peer: Peer, clients: int, suffix: str) -> None:
    openings = [peer.opening(number, [wire.topic(number % COURSES)]) for number in range(clients)]
    before = peer.cpu_seconds()
    opened = bench.loader.open(peer.port, openings, in_flight=AT_ONCE)
    note = bench.figures.note
    note(scenario, f"all there{suffix}", peer.name, opened.seconds, "s")
    note(scenario, f"CPU each{suffix}", peer.name, (peer.cpu_seconds() - before) / clients * 1e6, "µs")
    note(scenario, f"failed{suffix}", peer.name, clients - opened.live, "")


def memory(bench: Bench) -> None:
    """Measure what a connection adds to the server's memory (PSS; what the kernel keeps for it is the same for all)."""
    for name, make in {Limit.name: Limit, **bench.makers}.items():
        clients = IDLE_STOCK if name == Stock.name else min(IDLE, bench.effort.many)
        with make() as peer:
            _gather_idle(bench, peer, 100)
            bench.loader.close()
            time.sleep(_SETTLE_SECONDS)
            before = peer.memory_bytes()
            _gather_idle(bench, peer, clients)
            time.sleep(_SETTLE_SECONDS)
            each = (peer.memory_bytes() - before) / clients
            bench.loader.close()
        bench.figures.note(MEMORY, "a connection", name, each / 1000, "KB")


def _gather_idle(bench: Bench, peer: Peer, clients: int) -> None:
    """Connect clients with a topic of their own, and one that ten of them share."""
    openings = []
    for number in range(clients):
        shared, own = wire.topic(number // 10), wire.topic(number, 1)
        # Ours hears its user's own topic by itself.
        openings.append(peer.opening(number, [shared] if isinstance(peer, CourseHub) else [shared, own]))
    bench.loader.open(peer.port, openings).insist()


def resuming(bench: Bench) -> None:
    """Measure how long it takes until all have what they missed, when the server was killed and started anew."""
    clients = bench.at_most(bench.effort.many)
    with bench.ours() as peer:
        assert isinstance(peer, CourseHub)
        topics = _publish_missed(bench, peer)
        peer.stop()
        peer.start()
        openings = [
            peer.joining(number, [topics[number % len(topics)]], since=1, replay=MISSED, at=MISSED + 1)
            for number in range(clients)
        ]
        before, redis_before = peer.cpu_seconds(), bench.redis_cpu_seconds()
        opened = bench.loader.open(peer.port, openings, in_flight=AT_ONCE)
        cpu, redis_cpu = peer.cpu_seconds() - before, bench.redis_cpu_seconds() - redis_before
        bench.loader.close()
    _note_resuming(bench, resuming_title(clients), clients, opened, (cpu, redis_cpu))


def _publish_missed(bench: Bench, peer: CourseHub) -> list[str]:
    """Post to each course the event that clients have seen, and those that they have missed."""
    courses = min(RESUMED_COURSES, bench.effort.many // 10)
    names = [wire.topic(number, 7 + time.time_ns() // 1_000_000) for number in range(courses)]
    audience = Audience(bench, peer, names, 0)
    # A batch is of one course; each course gets its first event, then all that were missed.
    audience.post_all(1)
    audience.post_all(POSTED_AT_ONCE)
    return names


def _note_resuming(bench: Bench, scenario: str, clients: int, opened: Opened, cpu_seconds: tuple[float, float]) -> None:
    note = bench.figures.note
    note(scenario, "the last is complete", CourseHub.name, opened.seconds, "s")
    note(scenario, "CPU each", CourseHub.name, cpu_seconds[0] / clients * 1e6, "µs")
    note(scenario, "Valkey's CPU each", CourseHub.name, cpu_seconds[1] / clients * 1e6, "µs")
    note(scenario, "lost", CourseHub.name, opened.lost + clients * MISSED - opened.replayed, "")
    note(scenario, "doubled", CourseHub.name, opened.doubled, "")
    note(scenario, "failed", CourseHub.name, clients - opened.live, "")
