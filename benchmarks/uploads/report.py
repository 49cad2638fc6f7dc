"""The report: what was aimed at, then a table for each scenario, ratios before absolutes."""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figures, Series
from benchmarks.uploads import scenarios
from benchmarks.uploads.scenarios import DIRECT, MANY, ONE, PLAIN, PLAIN_ONE, THROUGHPUT, TUS
from benchmarks.uploads.watching import INSPECTION

RESULTS = Path(__file__).parents[1] / "results"
DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- uploads: begin -->", "<!-- uploads: end -->"
_SHORT = {PLAIN_ONE: "to boto3, one part at a time", PLAIN: "to boto3"}


@dataclass(frozen=True, slots=True)
class Run:
    """How a run was made. ``loads`` are the machine's load averages at its beginning and end."""

    rounds: int
    seconds: float
    loads: tuple[float, float]
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Aim:
    """``value`` has to be under ``bound`` (``at_least``: not under it)."""

    name: str
    value: Callable[[Figures], float | None]
    bound: float
    unit: str
    at_least: bool = False

    def row(self, figures: Figures) -> str | None:
        """Write it as a row; None: it was not measured."""
        value = self.value(figures)
        if value is None:
            return None
        sign, is_met = ("≥", value >= self.bound) if self.at_least else ("<", value < self.bound)
        verdict = "met" if is_met else "missed"
        return f"| {self.name} | {sign} {self.bound:g} {self.unit} | {_shown(value)} {self.unit} | {verdict} |"


def _ratio(scenario: str, subject: str, base: str) -> Callable[[Figures], float | None]:
    return lambda figures: _compared(figures, scenario, subject, base)


def _compared(figures: Figures, scenario: str, subject: str, base: str) -> float | None:
    ours, theirs = (figures.find(scenario, THROUGHPUT, name) for name in (subject, base))
    if ours is None or theirs is None:
        return None
    if len(ours.rounds) != len(theirs.rounds):  # one of them failed in a round
        return ours.value / theirs.value
    return figures.ratio(scenario, THROUGHPUT, subject, base)


def _largest(figure: str, unit_of: tuple[str, ...]) -> Callable[[Figures], float | None]:
    """The largest value that a figure has, whatever was uploaded how."""

    def value(figures: Figures) -> float | None:
        found = [figures.find(scenario, figure, way) for scenario in unit_of for way in (TUS, DIRECT)]
        values = [one.value for one in found if one]
        return max(values) if values else None

    return value


def _delay(figure: str, name: str) -> Callable[[Figures], float | None]:
    def value(figures: Figures) -> float | None:
        found = figures.find(scenarios.PROGRESS, figure, name)
        return found.value if found else None

    return value


def _aims() -> Iterator[Aim]:
    for scenario in (ONE, MANY):
        yield Aim(f"{scenario}: tus to boto3 with one part at a time", _ratio(scenario, TUS, PLAIN_ONE), 0.8, "×", True)
        yield Aim(f"{scenario}: tus to boto3", _ratio(scenario, TUS, PLAIN), 0.5, "×", True)
        yield Aim(f"{scenario}: direct to boto3", _ratio(scenario, DIRECT, PLAIN), 0.95, "×", True)
    for part in ("api", "worker", INSPECTION):
        yield Aim(f"memory above idle: {part}", _largest(f"memory above idle: {part}", (ONE, MANY)), 64, "MiB")
    for name in (scenarios.ALONE, scenarios.BESIDE):
        for figure in ("p50", "p99"):
            yield Aim(f"delay of progress, {name}, {figure}", _delay(figure, name), 100, "ms")


def markdown(figures: Figures, run: Run, sizes: str) -> str:
    """Write a run as Markdown; ``sizes`` says what was uploaded."""
    rows = [row for aim in _aims() if (row := aim.row(figures))]
    tables = [line for name, series in figures.scenarios().items() for line in (*_table(name, series, figures), "")]
    aims = ["| | aim | measured | |", "|---|---:|---:|---|", *rows, ""] if rows else []
    return "\n".join([_head(run, sizes), "", *aims, *tables])


def _head(run: Run, sizes: str) -> str:
    before, after = run.loads
    quick = "A quick run, with smaller files. " if run.quick else ""
    return (
        f"{quick}{sizes}. Python {platform.python_version()}, {os.cpu_count()} cores, load average {before:.1f} at "
        f"first and {after:.1f} at the end; {run.rounds} round{'s' if run.rounds > 1 else ''} in {run.seconds:.0f} s, "
        "everything in turn within each. Figures are medians of the rounds, ratios medians of the rounds' ratios."
    )


def _table(scenario: str, series: list[Series], figures: Figures) -> Iterator[str]:
    subjects = list(dict.fromkeys(one.subject for one in series))
    yield f"### Uploads: {scenario}"
    yield ""
    yield "| | " + " | ".join(subjects) + " | |"
    yield "|---|" + "---:|" * len(subjects) + "---|"
    for base in (PLAIN_ONE, PLAIN) if scenario in (ONE, MANY) else ():
        ratios = [_compared(figures, scenario, subject, base) for subject in subjects]
        yield _row(f"{THROUGHPUT} {_SHORT[base]}", ratios, "×")
    for figure in dict.fromkeys(one.figure for one in series):
        found = [figures.find(scenario, figure, subject) for subject in subjects]
        unit = next(one.unit for one in series if one.figure == figure)
        yield _row(figure, [one.value if one else None for one in found], unit)


def _row(name: str, values: list[float | None], unit: str) -> str:
    return f"| {name} | " + " | ".join("" if value is None else _shown(value) for value in values) + f" | {unit} |"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def save(figures: Figures, text: str, folder: Path) -> Path:
    """Keep a run's figures and its report; returns the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"uploads-{time.strftime('%Y-%m-%dT%H-%M-%S')}.md"
    path.write_text(text)
    path.with_suffix(".json").write_text(json.dumps(figures.as_json(), indent=1))
    return path
