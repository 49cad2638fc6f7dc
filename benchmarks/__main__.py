"""``make bench``: measures saves from HTTP to the event, with the floor beside every figure. Nothing else may run."""

import argparse
import sys
import time

from rich.console import Console
from rich.markdown import Markdown

from benchmarks import report, scenarios, stack
from benchmarks.figures import Figures
from benchmarks.scenarios import Effort
from coursehub.stack.errors import StackError

QUICK = Effort(saves=30, seconds=2.0, repeats=4)


def main() -> int:
    """Measure, print, keep; returns the exit code."""
    options = _parser().parse_args()
    console = Console()
    try:
        figures, seconds = _measure(console, options)
    except StackError as error:
        console.print(f"There is nothing to measure: {error}", markup=False)
        return 2
    text = report.markdown(figures, options.rounds, seconds)
    path = report.save(figures, text)
    console.print(Markdown(text) if console.is_terminal else text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"Kept in {path.parent.name}/{path.name}, and the figures of every round beside it.")
    return 0


def _measure(console: Console, options: argparse.Namespace) -> tuple[Figures, float]:
    figures, effort = Figures(), QUICK if options.quick else Effort()
    console.print("Starting CourseHub and the floor, and making courses …")
    with stack.running() as bench:
        stack.warm_up(bench)
        started = time.monotonic()
        for round_ in range(options.rounds):
            for scenario in scenarios.ROUND:
                if not options.only or scenario.__name__ in options.only:
                    console.print(f"Round {round_ + 1} of {options.rounds}: {scenario.__name__.replace('_', ' ')}")
                    scenario(bench, figures, round_, effort)
        scenarios.memory(bench, figures)
        return figures, time.monotonic() - started


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition(":")[2].strip())
    parser.add_argument("--rounds", type=int, default=5, help="how often to measure everything (5)")
    parser.add_argument("--quick", action="store_true", help="do less in each round")
    names = [scenario.__name__ for scenario in scenarios.ROUND]
    parser.add_argument("--only", nargs="+", choices=names, help="leave the other scenarios out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
