"""``make bench``: measures saves from HTTP to the event, with the floor beside every figure. Nothing else may run."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from benchmarks import report, scenarios, stack
from benchmarks.figures import Figures
from benchmarks.report import Run
from benchmarks.scenarios import Effort
from benchmarks.stack import Bench
from coursehub.stack.errors import StackError

Scenario = Callable[[Bench, Figures, int, Effort], None]

QUICK = Effort(saves=30, seconds=2.0, repeats=4)


def main() -> int:
    """Measure, print, keep; returns the exit code."""
    options = _parser().parse_args()
    console = Console()
    try:
        figures, run = _measure(console, options)
    except StackError as error:
        console.print(f"There is nothing to measure: {error}", markup=False)
        return 2
    text = report.markdown(figures, run)
    path = report.save(figures, text, options.results)
    console.print(Markdown(text) if console.is_terminal else text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"Kept in {path}, and the figures of every round beside it.", highlight=False, soft_wrap=True)
    return 0


def _measure(console: Console, options: argparse.Namespace) -> tuple[Figures, Run]:
    figures, effort = Figures(), QUICK if options.quick else Effort()
    console.print("Starting CourseHub and the floor, and making courses …")
    with stack.running(with_other_pool=options.pools) as bench:
        stack.warm_up(bench)
        started, load = time.monotonic(), os.getloadavg()[0]
        for round_ in range(options.rounds):
            for scenario in _chosen(options):
                console.print(f"Round {round_ + 1} of {options.rounds}: {scenario.__name__.replace('_', ' ')}")
                scenario(bench, figures, round_, effort)
        if not options.pools:
            scenarios.memory(bench, figures)
        return figures, Run(options.rounds, time.monotonic() - started, (load, os.getloadavg()[0]))


def _chosen(options: argparse.Namespace) -> list[Scenario]:
    if options.pools:
        return [scenarios.pools]
    return [scenario for scenario in scenarios.ROUND if not options.only or scenario.__name__ in options.only]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition(":")[2].strip())
    parser.add_argument("--rounds", type=int, default=5, help="how often to measure everything (5)")
    parser.add_argument("--quick", action="store_true", help="do less in each round")
    names = [scenario.__name__ for scenario in scenarios.ROUND]
    parser.add_argument("--only", nargs="+", choices=names, help="leave the other scenarios out")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="where to keep the figures")
    parser.add_argument("--pools", action="store_true", help="compare Celery's pools, and nothing else")
    return parser


if __name__ == "__main__":
    sys.exit(main())
