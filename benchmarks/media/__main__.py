"""``make bench-media``: builds a library of a million files and measures what may be asked of it; run it alone."""

import argparse
import os
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks.broadcast.report import insert
from benchmarks.media import asking, deleting, plans, questions, report, world
from benchmarks.media.asking import Asked
from benchmarks.media.building import Size
from benchmarks.media.report import Run
from benchmarks.media.world import World
from coursehub.stack.errors import StackError

_PLANS = 6


def main() -> int:
    """Build, measure, print, keep; 1 if an aim of a page was missed."""
    options, console = _parser().parse_args(), Console(soft_wrap=True, highlight=False, markup=False)
    try:
        return _measure(console, options)
    except StackError as error:
        console.print(f"There is nothing to measure: {error}")
        return 2


def _measure(console: Console, options: argparse.Namespace) -> int:
    size = Size(options.files, 3 * options.files, max(10, options.files // 500))
    began, load = time.monotonic(), os.getloadavg()[0]
    console.print(f"Building a library of {size.files:,} files …")
    with world.running(size, options.keep, console.print) as there:
        built = time.monotonic()
        asked = _ask(there, console, options)
        deletions = [
            deleting.delete(there, round_, what) for what in deleting.WANTED for round_ in range(options.deletions)
        ]
        slowest = sorted(asked, key=lambda one: one.p95 / one.question.limit_ms, reverse=True)
        explained = [(one, plans.of(there, one.slowest)) for one in slowest[:_PLANS]]
        loads = load, os.getloadavg()[0]
    run = Run(size, options.times, built - began, time.monotonic() - built, loads)
    text = report.markdown(run, asked, deletions, explained)
    path = report.save(text, asked, deletions, options.results)
    console.print(text)
    console.print(f"Kept in {path}, and every time beside it.")
    if options.publish:
        insert(report.DOCUMENT, text, report.BEGIN, report.END)
    return 0 if all(one.passes for one in asked) else 1


def _ask(there: World, console: Console, options: argparse.Namespace) -> list[Asked]:
    console.print("Asking …")
    wanted = [*questions.of_library(), *questions.of_usage()]
    chosen = [one for one in wanted if not options.only or one.group in options.only]
    asked = []
    for question in chosen:
        asked.append(asking.ask(there, question, options.times))
        if not asked[-1].passes:
            console.print(f"  {question.group}: {question.name}: p95 {asked[-1].p95:.1f} ms")
    return asked


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.media", description=__doc__.partition(":")[2].strip())
    parser.add_argument("--files", type=int, default=1_000_000, help="how large the library is (1,000,000)")
    parser.add_argument("--times", type=int, default=20, help="how often to ask each question, at least (20)")
    parser.add_argument("--deletions", type=int, default=3, help="how often to delete 10,000 files (3)")
    parser.add_argument("--only", nargs="+", metavar="GROUP", help="leave the other groups of questions out")
    parser.add_argument("--keep", type=Path, help="a directory for the library, to measure again without building it")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="where to keep the figures")
    parser.add_argument("--publish", action="store_true", help="put the report into docs/benchmarks.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
