"""Scenarios of fan-out: one event to many clients, bursts of events, many topics, and how the cost grows."""

from collections.abc import Callable
from statistics import median

from benchmarks.broadcast import wire
from benchmarks.broadcast.audience import Audience, Measured, gathered
from benchmarks.broadcast.bench import Bench, Limit
from benchmarks.broadcast.peers.base import Peer
from benchmarks.broadcast.peers.others import Stock
from benchmarks.broadcast.peers.ours import CourseHub

FEW, LATENCY_LOAD, BURST = 1_000, 0.3, 32
SPANS = 8
"""Latency is measured so many times and is the median: each time the kernel wakes the clients in one of two ways."""
TOPICS, TOPIC_CLIENTS, TOPIC_POSTS = 1_000, 4_000, 16
BATCHED = "CourseHub, 32 durable a POST"
DURABLE = "CourseHub, durable"
LATENCY = "latency at 30 % of the limit's load, 1,000 clients"
MANY_TOPICS = "4,000 clients on 1,000 topics"
MIXED = {False: f"CourseHub, {BURST} a POST", True: BATCHED}
"""As the outbox sends what many courses have to say at the same time."""
GROWTH, TO_LIMIT = "growth: CPU a delivery", "CourseHub, to the limit's (×)"
IDLE_TOPICS = 50
"""How many more topics each of those clients hears who are there only to make topics many."""


def fan_out_title(clients: int) -> str:
    """Name the scenario of one topic with so many clients."""
    return f"one topic, {clients:,} clients, one event at a time"


def bursts_title(clients: int) -> str:
    """Name the scenario of bursts to so many clients."""
    return f"one topic, {clients:,} clients, {BURST} events at once"


def fanout(bench: Bench) -> None:
    """Measure one topic with 1,000 clients: one event at a time, bursts, latency; and with ten times as many."""
    for name, make in bench.makers.items():
        with gathered(bench, Limit(), clients=FEW) as audience:
            limit, limit_burst = audience.measure(durable=False), _burst(audience)
            rate = LATENCY_LOAD * limit.deliveries_a_second / FEW
            limit_latency = _at_rate(bench, audience, rate, durable=False, spans=SPANS)
        _note_latency(bench, Limit.name, limit_latency)
        with gathered(bench, make(), clients=FEW) as audience:
            for subject, durable in _ways(name):
                measured = audience.measure(durable=durable)
                _note(bench, fan_out_title(FEW), subject, measured, limit)
                spans = SPANS
                if name == Stock.name:
                    # It gets so few events that they make no more than one.
                    rate, spans = LATENCY_LOAD * measured.deliveries_a_second / FEW, 1
                _note_latency(bench, subject, _at_rate(bench, audience, rate, durable=durable, spans=spans))
            if name != Stock.name:
                _note(bench, bursts_title(FEW), name, _burst(audience), limit_burst)
            if name == CourseHub.name:
                batched = audience.measure(window=2, connections=1, batch=BURST)
                _note(bench, bursts_title(FEW), BATCHED, batched, limit_burst)
    bench.remark("Stock Channels' latency is that at 30 % of its own load, and no bursts were sent to it.")


def fanout_many(bench: Bench) -> None:
    """Measure one topic with 10,000 clients."""
    clients = bench.at_most(bench.effort.many)
    for name, make in bench.makers.items():
        if name == Stock.name:
            bench.remark("Stock Channels is left out where there are thousands of clients: it takes minutes there.")
            continue
        _compare(bench, fan_out_title(clients), name, make, clients=clients)


def topics(bench: Bench) -> None:
    """Measure events a second on many topics with few clients each."""
    bench.remark(
        f"On many topics {TOPIC_POSTS} connections post at once. {BURST} events a POST are of as many topics, over 2 "
        "connections."
    )
    for name, make in bench.makers.items():
        posted = {"window": TOPIC_POSTS * 4, "connections": TOPIC_POSTS}
        with gathered(bench, Limit(), clients=TOPIC_CLIENTS, topics=TOPICS) as audience:
            limit = audience.measure(**posted, durable=False)
        with gathered(bench, make(), clients=TOPIC_CLIENTS, topics=TOPICS) as audience:
            for subject, durable in _ways(name):
                _note_events(bench, MANY_TOPICS, subject, audience.measure(**posted, durable=durable), limit)
            for durable, subject in MIXED.items() if name == CourseHub.name else ():
                mixed = audience.measure(window=4, connections=2, batch=BURST, mixed=True, durable=durable)
                _note_events(bench, MANY_TOPICS, subject, mixed, limit)


def growth(bench: Bench) -> None:
    """Measure the cost of a delivery with ever more clients, and with ever more topics beside the one measured."""
    for clients in (100, FEW, bench.effort.many, bench.effort.most):
        possible, cost = bench.at_most(clients), {}
        for make in (Limit, bench.ours):
            with gathered(bench, make(), clients=possible) as audience:
                cost[audience.peer.name] = audience.measure(durable=False).cpu_us_a_delivery
            bench.figures.note(GROWTH, f"{clients:,} clients", audience.peer.name, cost[audience.peer.name], "µs")
        bench.figures.note(GROWTH, f"{clients:,} clients", TO_LIMIT, cost[CourseHub.name] / cost[Limit.name], "×")
    for others in (1, bench.effort.many, bench.effort.most):
        measured = _among_topics(bench, others)
        bench.figures.note(GROWTH, f"{others:,} more topics", CourseHub.name, measured.cpu_us_a_delivery, "µs")


def _among_topics(bench: Bench, count: int) -> Measured:
    """Measure 1,000 clients on one topic while others hear ``count`` more."""
    peer, (topic, *_) = bench.ours(), (names := [wire.topic(n, 8) for n in range(count + 1)])
    groups = [names[first : first + IDLE_TOPICS] for first in range(1, count + 1, IDLE_TOPICS)]
    with peer:
        openings = [peer.opening(number, [topic]) for number in range(FEW)]
        openings += [peer.opening(FEW + number, group) for number, group in enumerate(groups)]
        bench.loader.open(peer.port, openings).insist()
        audience = Audience(bench, peer, [topic], FEW)
        audience.measure(seconds=bench.effort.seconds / 5, durable=False)
        measured = audience.measure(durable=False)
        bench.loader.close()
    return measured


def _ways(name: str) -> list[tuple[str, bool]]:
    """Say how a peer's events go, and what the tables call that: nobody but ours can keep any."""
    return [(CourseHub.name, False), (DURABLE, True)] if name == CourseHub.name else [(name, False)]


def _at_rate(bench: Bench, audience: Audience, rate: float, *, durable: bool, spans: int) -> list[Measured]:
    seconds = bench.effort.seconds * (0.6 if spans > 1 else 2)
    return [audience.measure(seconds=seconds, rate=rate, connections=1, durable=durable) for _ in range(spans)]


def _burst(audience: Audience) -> Measured:
    return audience.measure(window=BURST, durable=False)


def _compare(bench: Bench, scenario: str, name: str, make: Callable[[], Peer], *, clients: int) -> None:
    with gathered(bench, Limit(), clients=clients) as audience:
        limit = audience.measure(durable=False)
    with gathered(bench, make(), clients=clients) as audience:
        for subject, durable in _ways(name):
            _note(bench, scenario, subject, audience.measure(durable=durable), limit)


def _note(bench: Bench, scenario: str, name: str, measured: Measured, limit: Measured) -> None:
    note = bench.figures.note
    note(scenario, "CPU to the limit's", Limit.name, 1, "×")
    note(scenario, "deliveries to the limit's", Limit.name, 1, "×")
    note(scenario, "CPU a delivery", Limit.name, limit.cpu_us_a_delivery, "µs")
    note(scenario, "deliveries", Limit.name, limit.deliveries_a_second, "/s")
    note(scenario, "lost", Limit.name, limit.missing, "")
    note(scenario, "CPU to the limit's", name, measured.cpu_us_a_delivery / limit.cpu_us_a_delivery, "×")
    note(scenario, "deliveries to the limit's", name, measured.deliveries_a_second / limit.deliveries_a_second, "×")
    note(scenario, "CPU a delivery", name, measured.cpu_us_a_delivery, "µs")
    note(scenario, "deliveries", name, measured.deliveries_a_second, "/s")
    note(scenario, "lost", name, measured.missing, "")
    if name not in (Limit.name, "nchan", "Node ws"):
        note(scenario, "Valkey's CPU an event", name, measured.redis_us_an_event, "µs")


def _note_events(bench: Bench, scenario: str, name: str, measured: Measured, limit: Measured) -> None:
    note = bench.figures.note
    note(scenario, "events to the limit's", Limit.name, 1, "×")
    note(scenario, "events", Limit.name, limit.events_a_second, "/s")
    note(scenario, "CPU an event", Limit.name, limit.cpu_us_an_event, "µs")
    note(scenario, "events to the limit's", name, measured.events_a_second / limit.events_a_second, "×")
    note(scenario, "events", name, measured.events_a_second, "/s")
    note(scenario, "CPU an event", name, measured.cpu_us_an_event, "µs")
    note(scenario, "lost", name, measured.missing, "")


def _note_latency(bench: Bench, name: str, spans: list[Measured]) -> None:
    note = bench.figures.note
    note(LATENCY, "p50", name, median(span.posted.p50_us for span in spans) / 1000, "ms")
    note(LATENCY, "p99", name, median(span.posted.p99_us for span in spans) / 1000, "ms")
    note(LATENCY, "deliveries", name, median(span.deliveries_a_second for span in spans), "/s")
