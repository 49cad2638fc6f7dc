"""The report: one table for each scenario, CourseHub beside the floor, ratios before absolutes."""

import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import scenarios, stages
from benchmarks.figures import Figures, Series
from benchmarks.floor.subject import Floor
from benchmarks.product import CourseHub

RESULTS = Path(__file__).parent / "results"


def markdown(figures: Figures, rounds: int, seconds: float) -> str:
    """Write a run as Markdown."""
    head = [
        f"Python {platform.python_version()}, two cores; medians of {rounds} rounds, everything in turn within each, "
        f"{seconds:.0f} s in all. Times are in ms from sending the request to the event on the screen.",
        "",
    ]
    tables = [_table(scenario, series, figures) for scenario, series in figures.scenarios().items()]
    return "\n".join([*head, *(line for table in tables for line in table)])


def _table(scenario: str, series: list[Series], figures: Figures) -> Iterator[str]:
    yield f"### {scenario[0].upper()}{scenario[1:]}"
    yield ""
    if scenario == stages.SCENARIO:
        yield from _single(series)
    elif scenario == scenarios.SIZES:
        yield from _compared(scenario, series, figures, scenarios.LARGE, scenarios.SMALL)
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


def save(figures: Figures, text: str) -> Path:
    """Keep a run's figures and its report; returns the report's path."""
    RESULTS.mkdir(exist_ok=True)
    name = time.strftime("%Y-%m-%dT%H-%M-%S")
    (RESULTS / f"{name}.json").write_text(json.dumps(figures.as_json(), indent=1))
    path = RESULTS / f"{name}.md"
    path.write_text(text)
    return path
