"""The report: what was aimed at, then a table for each scenario with everyone on a row of their own."""

import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.broadcast import aims, plot
from benchmarks.broadcast.bench import Bench
from benchmarks.figures import Figures, Series

RESULTS = Path(__file__).parents[1] / "results"
DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
PLOT = DOCUMENT.parent / "benchmarks-broadcast.svg"
LATEST = "broadcast-latest.json"
BEGIN, END = "<!-- broadcast: begin -->", "<!-- broadcast: end -->"


@dataclass(frozen=True, slots=True)
class Run:
    """How a run was made. ``loads`` are the machine's load averages at its beginning and end."""

    rounds: int
    seconds: float
    loads: tuple[float, float]
    quick: bool = False


def markdown(bench: Bench, run: Run) -> str:
    """Write a run as Markdown."""
    figures, many = bench.figures, bench.at_most(bench.effort.many)
    lines = [_head(run), ""]
    if rows := aims.rows(figures, many):
        lines += ["| aim | (stretch) | measured | |", "|---|---:|---:|---|", *rows, ""]
    for name, series in figures.scenarios().items():
        lines += [*_table(name, series), ""]
    lines += [f"- {name} was not measured: {reason}." for name, reason in bench.absent.items()]
    lines += [f"- {remark}" for remark in bench.remarks]
    return "\n".join(lines) + "\n"


def _head(run: Run) -> str:
    before, after = run.loads
    quick = "A quick run, with fewer clients and short measurements. " if run.quick else ""
    return (
        f"{quick}Python {platform.python_version()}, {os.cpu_count()} cores, load average {before:.1f} at first and "
        f"{after:.1f} at the end; {run.rounds} round{'s' if run.rounds > 1 else ''} in {run.seconds:.0f} s. Figures "
        "are medians of the rounds, ratios medians of the rounds' ratios, to the limit against a run just before."
    )


def _table(scenario: str, series: list[Series]) -> Iterator[str]:
    units = {one.figure: one.unit for one in reversed(series)}
    columns = [(figure, units[figure]) for figure in dict.fromkeys(one.figure for one in series)]
    cells = {(one.subject, one.figure): one.value for one in series}
    yield f"### {scenario[0].upper()}{scenario[1:]}"
    yield ""
    yield "| | " + " | ".join(f"{name}{f' ({unit})' if unit else ''}" for name, unit in columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    for subject in dict.fromkeys(one.subject for one in series):
        values = [cells.get((subject, name)) for name, _ in columns]
        yield f"| {subject} | " + " | ".join("" if value is None else aims.shown(value) for value in values) + " |"


def save(figures: Figures, text: str, folder: Path, *, whole: bool) -> Path:
    """Keep a run's figures, plot and report; returns its path. Those of the last ``whole`` run feed the model."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"broadcast-{time.strftime('%Y-%m-%dT%H-%M-%S')}.md"
    path.write_text(text)
    values = json.dumps(figures.as_json(), indent=1)
    path.with_suffix(".json").write_text(values)
    if whole:
        (folder / LATEST).write_text(values)
    path.with_suffix(".svg").write_text(plot.svg(figures))
    return path


def publish(report: Path, document: Path = DOCUMENT, picture: Path = PLOT) -> None:
    """Put a report and its plot into the documentation, in place of the last."""
    insert(document, report.read_text(), BEGIN, END)
    picture.write_text(report.with_suffix(".svg").read_text())


def insert(document: Path, text: str, begin: str, end: str) -> None:
    """Put a text between two marks of a document, in place of what is there."""
    before, _, rest = document.read_text().partition(begin)
    _, _, after = rest.partition(end)
    document.write_text(f"{before}{begin}\n{text}{end}{after}")
