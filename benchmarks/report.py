"""The report: one table for each scenario, CourseHub beside the floor, ratios before absolutes."""

import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import scenarios, stages
from benchmarks.figures import Figures, Series
from benchmarks.floor.subject import Floor
from benchmarks.product import CourseHub

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Run:
    """How a run was made. ``loads`` are the machine's load averages at its beginning and end."""

    rounds: int
    seconds: float
    loads: tuple[float, float]


def markdown(figures: Figures, run: Run) -> str:
    """Write a run as Markdown."""
    cores = _CORES.get(os.cpu_count() or 0, f"{os.cpu_count()} cores")
    before, after = run.loads
    head = (
        f"Python {platform.python_version()}, {cores}, load average {before:.1f} at first and {after:.1f} at the "
        f"end; {run.rounds} rounds in {run.seconds:.0f} s, everything in turn within each. Figures are medians of the "
        "rounds, ratios medians of the rounds' ratios. Times run from sending the request to the event on the screen."
    )
    tables = [_aims(figures), *(_table(name, series, figures) for name, series in figures.scenarios().items())]
    return "\n".join([head, "", *(line for table in tables for line in table)])


_CORES = {1: "one core", 2: "two cores", 4: "four cores"}


def _aims(figures: Figures) -> Iterator[str]:
    lines = [line for aim in AIMS if (line := aim.line(figures))]
    if lines:
        yield from ("### Aims", "", "| | aim | measured | |", "|---|---:|---:|---|", *lines, "")


@dataclass(frozen=True, slots=True)
class Aim:
    """What a figure should stay under; with ``base``, its ratio to that subject's."""

    name: str
    limit: float
    scenario: str
    figure: str
    subject: str = CourseHub.name
    base: str | None = None

    def line(self, figures: Figures) -> str | None:
        """Write the aim as a row; None: it was not measured."""
        series = figures.find(self.scenario, self.figure, self.subject)
        if series is None:
            return None
        ratio = figures.ratio(self.scenario, self.figure, self.subject, self.base) if self.base else None
        value, unit = (series.value, series.unit) if ratio is None else (ratio, "×")
        verdict = "met" if value < self.limit else "missed"
        return f"| {self.name} | < {self.limit:,g} {unit} | {value:,.2f} {unit} | {verdict} |"


AIMS = (
    Aim("one user, p50", 10, scenarios.ALONE, "p50"),
    Aim("one user, p99", 30, scenarios.ALONE, "p99"),
    Aim("1,000 changes", 1000, scenarios.BATCHES, "1,000 changes"),
    *(
        Aim(f"{edit} among 5,000 videos", 1.3, scenarios.SIZES, f"{edit} p50", scenarios.LARGE, scenarios.SMALL)
        for edit in ("title", "move", "deletion")
    ),
)


def _table(scenario: str, series: list[Series], figures: Figures) -> Iterator[str]:
    yield f"### {scenario[0].upper()}{scenario[1:]}"
    yield ""
    if scenario == stages.SCENARIO:
        yield from _single(series)
    elif scenario == scenarios.SIZES:
        yield from _compared(scenario, series, figures, scenarios.LARGE, scenarios.SMALL)
    elif scenario.startswith(scenarios.POOLS):
        yield from _compared(scenario, series, figures, scenarios.THREADS, scenarios.PREFORK)
    else:
        yield from _compared(scenario, series, figures, CourseHub.name, Floor.name)
    yield ""


def _single(series: list[Series]) -> Iterator[str]:
    yield "| | ms |"
    yield "|---|---:|"
    for one in series:
        yield f"| {one.figure} | {one.value:.2f} |"


def _compared(scenario: str, series: list[Series], figures: Figures, subject: str, base: str) -> Iterator[str]:
    yield f"| | to the {base} | {subject} | {base} | |" if base == Floor.name else f"| | ratio | {subject} | {base} | |"
    yield "|---|---:|---:|---:|---|"
    for figure in dict.fromkeys(one.figure for one in series):
        ours, theirs = (figures.find(scenario, figure, name) for name in (subject, base))
        ratio = figures.ratio(scenario, figure, subject, base)
        unit = next(one.unit for one in series if one.figure == figure)
        yield f"| {figure} | {f'{ratio:.2f} ×' if ratio else ''} | {_shown(ours)} | {_shown(theirs)} | {unit} |"


def _shown(series: Series | None) -> str:
    if series is None:
        return ""
    return f"{series.value:.2f}" if series.value < 10 else f"{series.value:,.1f}"


def save(figures: Figures, text: str, folder: Path = RESULTS) -> Path:
    """Keep a run's figures and its report; returns the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    name = time.strftime("%Y-%m-%dT%H-%M-%S")
    (folder / f"{name}.json").write_text(json.dumps(figures.as_json(), indent=1))
    path = folder / f"{name}.md"
    path.write_text(text)
    return path
