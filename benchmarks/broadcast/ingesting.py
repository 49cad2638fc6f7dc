"""Scenarios of what comes in: the bridge, the history, and what another process costs."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import redis

from benchmarks.broadcast import wire
from benchmarks.broadcast.audience import Audience, Measured, gathered
from benchmarks.broadcast.bench import Bench, Limit
from benchmarks.broadcast.peers.ours import CourseHub
from benchmarks.broadcast.wire import Event

INGEST = "bridge: progress, one event a POST, nobody listening"
HISTORY = "durable events with history, in batches of 100"
PROCESSES = "several processes, one client each, one event a POST"
BARE = "bare redis-py, pipelined"
POSTING = 32
BATCH, WRITERS, COURSES = 100, 4, 64
_KEPT, _KEPT_SECONDS = 5_000, 21_600


def ingest(bench: Bench) -> None:
    """Measure how many POSTs of a single event are taken a second."""
    bench.remark(f"{POSTING} connections post to the bridge, each its next event when the last one is answered.")
    for name, make in {Limit.name: Limit, **bench.makers}.items():
        with gathered(bench, make(), clients=0, topics=TOPICS) as audience:
            measured = audience.measure(connections=POSTING, durable=False, again=True)
        bench.figures.note(INGEST, "events", name, measured.events_a_second, "/s")
        bench.figures.note(INGEST, "CPU an event", name, measured.cpu_us_an_event, "µs")


TOPICS = 1_000


def durable(bench: Bench) -> None:
    """Measure batches that go into the history, against the same writes by redis-py alone, each without an audience."""
    bench.remark(
        f"Batches of {BATCH} events of one course, {WRITERS} connections, {COURSES} courses. Bare redis-py writes the "
        "same list entries, last seq, expiries and message a batch, one pipeline each, and checks nothing."
    )
    bare = _bare(bench)
    with gathered(bench, bench.ours(), clients=0, topics=COURSES) as audience:
        measured = audience.measure(connections=WRITERS, batch=BATCH)
    note = bench.figures.note
    note(HISTORY, "events", BARE, bare, "/s")
    note(HISTORY, "events", CourseHub.name, measured.events_a_second, "/s")
    note(HISTORY, "to bare redis-py", CourseHub.name, measured.events_a_second / bare, "×")
    note(HISTORY, "CPU an event", CourseHub.name, measured.cpu_us_an_event, "µs")
    note(HISTORY, "Valkey's CPU an event", CourseHub.name, measured.redis_us_an_event, "µs")


def _bare(bench: Bench) -> float:
    """Write as many batches as it can to Valkey; returns the events a second."""
    client = redis.Redis.from_url(bench.services.env["REDIS_URL"])
    body = wire.encode(Event(wire.topic(1), 1, 1).envelope())
    bodies, message = [body] * BATCH, body * BATCH
    written, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < bench.effort.seconds:
        _write_batch(client, f"bare:{written // BATCH % COURSES}", bodies, message)
        written += BATCH
    client.flushdb()
    client.close()
    return written / elapsed


def _write_batch(client: "redis.Redis", key: str, bodies: Sequence[bytes], message: bytes) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for body in bodies:
            pipeline.rpush(f"{key}:events", body)
        pipeline.ltrim(f"{key}:events", -_KEPT, -1)
        pipeline.expire(f"{key}:events", _KEPT_SECONDS)
        pipeline.set(f"{key}:last", "1234567", ex=_KEPT_SECONDS)
        pipeline.publish(f"{key}:group", message)
        pipeline.execute()


def processes(bench: Bench) -> None:
    """Measure what an event costs the process that takes it, each that only delivers it, and Valkey."""
    for count in (1, 2, 3):
        for durable, kind in ((True, "durable"), (False, "progress")):
            measured, others = _with_processes(bench, count, durable=durable)
            subject = f"{count} process{'es' if count > 1 else ''}, {kind}"
            note = bench.figures.note
            note(PROCESSES, "taking it", subject, measured.cpu_us_an_event, "µs")
            if count > 1:
                each = sum(others) / len(others) / measured.posted.events * 1e6
                note(PROCESSES, "each that delivers it", subject, each, "µs")
            note(PROCESSES, "Valkey", subject, measured.redis_us_an_event, "µs")
            note(PROCESSES, "lost", subject, measured.missing, "")
    if (os.cpu_count() or 1) <= 4:
        bench.remark(
            f"Throughput of several processes against one is not measurable here: {os.cpu_count()} cores are all in "
            "use by one process, Valkey and the load generator."
        )


def _with_processes(bench: Bench, count: int, *, durable: bool) -> tuple[Measured, list[float]]:
    topic = wire.topic(count * 2 + durable, 9 + int(time.time()))
    with ExitStack() as running:
        peers = [running.enter_context(bench.ours()) for _ in range(count)]
        openings = [replace(peer.opening(number, [topic]), port=peer.port) for number, peer in enumerate(peers)]
        bench.loader.open(peers[0].port, openings).insist()
        audience = Audience(bench, peers[0], [topic], count)
        audience.measure(seconds=bench.effort.seconds / 5, durable=durable)
        before = [peer.cpu_seconds() for peer in peers[1:]]
        measured = audience.measure(durable=durable)
        others = [peer.cpu_seconds() - used for peer, used in zip(peers[1:], before, strict=True)]
        bench.loader.close()
    return measured, others
