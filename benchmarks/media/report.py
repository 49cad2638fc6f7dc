"""The report: the slowest of each group of questions, their plans, and the deletions."""

import json
import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.broadcast.report import DOCUMENT, RESULTS
from benchmarks.media.asking import Asked
from benchmarks.media.building import Size
from benchmarks.media.deleting import COUNT, Deletion, Felt
from demo.timing import percentile

BEGIN, END = "<!-- media: begin -->", "<!-- media: end -->"
DELETION_SECONDS, LOCKED_OUT_MS = 10.0, 100.0
__all__ = ["BEGIN", "DOCUMENT", "END", "RESULTS", "Run", "markdown", "save"]


@dataclass(frozen=True, slots=True)
class Run:
    """How a run was made. ``loads`` are the machine's load averages at its beginning and end."""

    size: Size
    times: int
    built_seconds: float
    seconds: float
    loads: tuple[float, float]


def markdown(
    run: Run, asked: Sequence[Asked], deletions: Sequence[Deletion], plans: Sequence[tuple[Asked, str]]
) -> str:
    """Write a run as Markdown."""
    before, after = run.loads
    head = (
        f"One library of {run.size.files:,} files with {run.size.links:,} links into {run.size.courses:,} courses. "
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load average {before:.1f} at first and "
        f"{after:.1f} at the end; built in {run.built_seconds:.0f} s, measured in {run.seconds:.0f} s. Times are of "
        f"whole HTTP requests, one after another, each question at least {run.times} times."
    )
    lines = [head, "", *_groups(asked), "", *_slowest(asked), ""]
    for what in dict.fromkeys(one.what for one in deletions):
        lines += [*_deletions([one for one in deletions if one.what == what]), ""]
    lines += [line for one, plan in plans for line in (f"Plan of *{one.question.name}*:", "", "```", plan, "```", "")]
    return "\n".join(lines)


def _groups(asked: Sequence[Asked]) -> Iterator[str]:
    yield "| questions | number | requests | p50 | p95 | aim | | slowest by itself, p95 | over the aim by themselves |"
    yield "|---|---:|---:|---:|---:|---:|---|---:|---:|"
    for group in dict.fromkeys(one.question.group for one in asked):
        of_group = [one for one in asked if one.question.group == group]
        slowest = max(of_group, key=lambda one: one.p95 / one.question.limit_ms)
        times, limit = [time for one in of_group for time in one.times_ms], slowest.question.limit_ms
        p95 = percentile(times, 95)
        of_all = f"{len(of_group)} | {len(times)} | {percentile(times, 50):.1f} ms | {p95:.1f} ms"
        alone = f"{slowest.p95:.1f} ms | {sum(not one.passes for one in of_group)}"
        yield f"| {group} | {of_all} | < {limit:.0f} ms | {_verdict(p95 < limit)} | {alone} |"


def _slowest(asked: Sequence[Asked]) -> Iterator[str]:
    yield "| the slowest | p50 | p95 | longest |"
    yield "|---|---:|---:|---:|"
    for one in sorted(asked, key=lambda one: one.p95 / one.question.limit_ms, reverse=True)[:10]:
        times = f"{percentile(one.times_ms, 50):.1f} ms | {one.p95:.1f} ms | {max(one.times_ms):.1f} ms"
        yield f"| {one.question.group}: {one.question.name} | {times} |"


def _deletions(deletions: Sequence[Deletion]) -> Iterator[str]:
    links = median(one.links for one in deletions)
    yield (
        f"{COUNT:,} {deletions[0].what}, with {links:,.0f} links, aim {DELETION_SECONDS:.0f} s: "
        f"alone {_took(one.alone_seconds for one in deletions)}, "
        f"beside others {_took(one.seconds for one in deletions)}."
    )
    yield ""
    yield "| meanwhile someone else | p95 | longest | longest without it | |"
    yield "|---|---:|---:|---:|---|"
    for number, felt in enumerate(deletions[0].meanwhile):
        during = _together(felt.name, [one.meanwhile[number] for one in deletions])
        without = _together(felt.name, [one.before[number] for one in deletions])
        aim = _verdict(during.longest < LOCKED_OUT_MS) if felt.name.startswith("locks") else ""
        yield f"| {felt.name} | {during.p95:.1f} ms | {during.longest:.1f} ms | {without.longest:.1f} ms | {aim} |"


def _took(seconds: Iterable[float]) -> str:
    typical = median(seconds)
    return f"{typical:.1f} s ({_verdict(typical < DELETION_SECONDS)})"


def _together(name: str, felt: Sequence[Felt]) -> Felt:
    return Felt(name, [time for one in felt for time in one.times_ms])


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "missed"


def save(text: str, asked: Sequence[Asked], deletions: Sequence[Deletion], folder: Path) -> Path:
    """Keep a run's report and all its times; returns the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"media-{time.strftime('%Y-%m-%dT%H-%M-%S')}.md"
    path.write_text(text)
    values = {"asked": [asdict(one) for one in asked], "deletions": [asdict(one) for one in deletions]}
    path.with_suffix(".json").write_text(json.dumps(values))
    return path
