"""
What many connections take, from what each thing costs here: ``python -m benchmarks.broadcast.model``.

Reads the figures of the last whole run and writes the tables of docs/scaling.md. What it assumes stands in `Load`.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.broadcast import connecting, fanning, ingesting, report, wire
from benchmarks.broadcast.aims import shown
from benchmarks.broadcast.peers.ours import CourseHub

DOCUMENT = report.DOCUMENT.parent / "scaling.md"
BEGIN, END = "<!-- model: begin -->", "<!-- model: end -->"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
_WIRE_OVERHEAD_BYTES = 4 + 66
"""A frame's head, and those of TCP, IP and Ethernet."""


class FiguresMissing(Exception):
    """The figures come from a run that left something out; the message says what."""


@dataclass(frozen=True, slots=True)
class Load:
    """What users do, at a busy time."""

    listeners: int = 20
    """Connections that hear the same course."""
    events_a_second: float = 0.5
    """Events of each course."""
    reconnect_seconds: float = 60
    """In which everybody connects again after a failure."""
    busy: float = 0.6
    """The share of a core that a process, or a Redis, may use."""
    connections_a_process: int = 20_000
    """The most that was measured."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured, in microseconds of CPU, and bytes."""

    delivery_us: float
    taking_us: float
    """An event at the process that takes it, one a POST."""
    taking_batched_us: float
    """The same in batches of 100."""
    relaying_us: float
    """An event at each further process that delivers it, its first delivery included."""
    redis_us: float
    redis_relaying_us: float
    """At Valkey for each further process."""
    redis_batched_us: float
    connecting_us: float
    connection_bytes: float


@dataclass(frozen=True, slots=True)
class Needs:
    """What a number of connections takes."""

    connections: int
    events: float
    deliveries: float
    processes: int
    reached: float
    """Processes that an event reaches on average."""
    history_cores: float
    message_cores: float
    reconnecting_cores: float
    memory_bytes: float
    network_bits: float


def costs(figures: Mapping[tuple[str, str, str], float]) -> Costs:
    """
    Find the costs in a run's figures, by scenario, figure and subject.

    Raises:
        FiguresMissing: one is not there.
    """
    try:
        one, two = (figures[ingesting.PROCESSES, "Valkey", _processes(count)] for count in (1, 2))
        many = _most_clients(figures)
        return Costs(
            delivery_us=figures[fanning.fan_out_title(many), "CPU a delivery", CourseHub.name],
            taking_us=figures[ingesting.PROCESSES, "taking it", _processes(1)],
            taking_batched_us=figures[ingesting.HISTORY, "CPU an event", CourseHub.name],
            relaying_us=figures[ingesting.PROCESSES, "each that delivers it", _processes(2)],
            redis_us=one,
            redis_relaying_us=max(two - one, 0),
            redis_batched_us=figures[ingesting.HISTORY, "Valkey's CPU an event", CourseHub.name],
            connecting_us=figures[connecting.connecting_title(many), "CPU each", CourseHub.name],
            connection_bytes=figures[connecting.MEMORY, "a connection", CourseHub.name] * 1000,
        )
    except KeyError as missing:
        raise FiguresMissing(f"the run did not measure {missing}: run make bench-broadcast without --only") from missing


def _processes(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''}, durable"


def _most_clients(figures: Mapping[tuple[str, str, str], float]) -> int:
    """Find for how many clients the large scenarios were run: a quick run has fewer."""
    sizes = [int(title.split()[0].replace(",", "")) for title, _, _ in figures if title.endswith("after a restart")]
    return max(sizes, default=10_000)


def needs(connections: int, measured: Costs, load: Load, *, batched: bool = False) -> Needs:
    """Compute what so many connections take; ``batched``: events come in batches of 100 instead of alone."""
    events = connections / load.listeners * load.events_a_second
    deliveries = events * load.listeners
    taking = measured.taking_batched_us if batched else measured.taking_us
    share = 0.01 if batched else 1.0  # a batch is one message to each process
    processes, reached = math.ceil(connections / load.connections_a_process), 1.0
    for _ in range(100):
        reached = processes * (1 - (1 - 1 / processes) ** load.listeners)
        cost = taking + (reached - 1) * measured.relaying_us * share + load.listeners * measured.delivery_us
        enough = max(1, math.ceil(events * cost / 1e6 / load.busy))
        if enough <= processes:
            break
        processes = enough
    redis = measured.redis_batched_us if batched else measured.redis_us
    return Needs(
        connections=connections,
        events=events,
        deliveries=deliveries,
        processes=processes,
        reached=reached,
        history_cores=events * redis / 1e6,
        message_cores=events * (reached - 1) * measured.redis_relaying_us * share / 1e6,
        reconnecting_cores=connections * measured.connecting_us / load.reconnect_seconds / 1e6,
        memory_bytes=connections * measured.connection_bytes,
        network_bits=deliveries * (wire.EVENT_BYTES + _WIRE_OVERHEAD_BYTES) * 8,
    )


def checks(figures: Mapping[tuple[str, str, str], float], measured: Costs) -> Iterator[tuple[str, float, float]]:
    """Compare what the costs predict with what other scenarios of the same run measured: what, predicted, measured."""
    found = figures.get((fanning.fan_out_title(fanning.FEW), "CPU a delivery", fanning.DURABLE))
    if found:
        yield "1,000 clients, durable: CPU a delivery", measured.delivery_us + measured.taking_us / fanning.FEW, found
    found = figures.get((fanning.MANY_TOPICS, "CPU an event", fanning.DURABLE))
    if found:
        predicted = measured.taking_us + (fanning.TOPIC_CLIENTS / fanning.TOPICS - 1) * measured.delivery_us
        yield "4 clients on each of 1,000 topics: CPU an event", predicted, found
    found = figures.get((ingesting.PROCESSES, "Valkey", _processes(3)))
    if found:
        yield "3 processes: Valkey's CPU an event", measured.redis_us + 2 * measured.redis_relaying_us, found


def markdown(figures: Mapping[tuple[str, str, str], float], load: Load | None = None) -> str:
    """Write everything."""
    measured, load = costs(figures), load or Load()
    return "\n".join(
        [
            *_costs_table(measured),
            "",
            f"Assumed: {load.listeners} connections hear the same course, each course has {load.events_a_second:g} "
            f"events a second, a process or Redis may use {load.busy:.0%} of a core, everybody reconnects within "
            f"{load.reconnect_seconds:.0f} s, events of {wire.EVENT_BYTES} bytes.",
            "",
            *_needs_table(measured, load, batched=False),
            "",
            "The same if events come in batches of 100 of one course, as large saves do:",
            "",
            *_needs_table(measured, load, batched=True),
            "",
            "Held against the same run (CPU in µs):",
            "",
            "| | predicted | measured | |",
            "|---|---:|---:|---:|",
            *(f"| {what} | {shown(a)} | {shown(b)} | {a / b:.2f} × |" for what, a, b in checks(figures, measured)),
            "",
        ]
    )


def _costs_table(measured: Costs) -> Iterator[str]:
    yield "| each | costs |"
    yield "|---|---:|"
    yield f"| connection that comes | {shown(measured.connecting_us)} µs |"
    yield f"| connection that is there | {shown(measured.connection_bytes / 1000)} KB |"
    yield f"| delivery | {shown(measured.delivery_us)} µs |"
    yield f"| event taken, alone | {shown(measured.taking_us)} µs, and Valkey {shown(measured.redis_us)} µs |"
    batched = f"{shown(measured.taking_batched_us)} µs, and Valkey {shown(measured.redis_batched_us)} µs"
    yield f"| event taken, in a batch of 100 | {batched} |"
    relayed = f"{shown(measured.relaying_us)} µs, and Valkey {shown(measured.redis_relaying_us)} µs"
    yield f"| event at each further process | {relayed} |"


def _needs_table(measured: Costs, load: Load, *, batched: bool) -> Iterator[str]:
    heads = (
        "connections",
        "events/s",
        "deliveries/s",
        "processes",
        "reached by an event",
        "Redis: history",
        "messages",
    )
    yield f"| {' | '.join(heads)} | reconnecting |"
    yield "|---:" * (len(heads) + 1) + "|"
    for size in SIZES:
        need = needs(size, measured, load, batched=batched)
        mark = "" if size <= 10_000 else " *"
        cores = (need.history_cores, need.message_cores, need.reconnecting_cores)
        yield (
            f"| {size:,}{mark} | {shown(need.events)} | {shown(need.deliveries)} | {need.processes:,} | "
            f"{need.reached:.1f} | " + " | ".join(f"{value:.2f}" for value in cores) + " |"
        )
    largest = needs(SIZES[-1], measured, load, batched=batched)
    yield ""
    yield (
        "\\* extrapolated. Redis and reconnecting in cores. A million connections hold "
        f"{largest.memory_bytes / 1e9:.0f} GB in all processes together, and receive "
        f"{largest.network_bits / 1e9:.2f} Gbit/s."
    )


def read(path: Path) -> dict[tuple[str, str, str], float]:
    """Read a run's figures."""
    series = json.loads(path.read_text())
    return {(one["scenario"], one["figure"], one["subject"]): one["median"] for one in series}


def main() -> int:
    """Print the tables, or put them into the document; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.broadcast.model", description=__doc__.splitlines()[1])
    parser.add_argument("--figures", type=Path, default=report.RESULTS / report.LATEST, help="a run's figures")
    parser.add_argument("--publish", action="store_true", help="put the tables into docs/scaling.md")
    options = parser.parse_args()
    try:
        text = markdown(read(options.figures))
    except (OSError, FiguresMissing) as problem:
        print(f"No figures: {problem}", file=sys.stderr)
        return 2
    if options.publish:
        report.insert(DOCUMENT, text, BEGIN, END)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
