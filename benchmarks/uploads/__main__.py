"""``make bench-uploads``: uploads beside boto3 alone, on the same storage. Nothing else may run."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markdown import Markdown

from benchmarks.broadcast.report import insert
from benchmarks.figures import Figures
from benchmarks.uploads import report, scenarios, ways
from benchmarks.uploads import world as worlds
from benchmarks.uploads.files import MIB
from benchmarks.uploads.report import Run
from benchmarks.uploads.world import QUICK, Effort, World
from coursehub.stack.errors import StackError

Scenario = Callable[[World, Figures, int], None]

_COPIES = 3
"""How often the largest upload may be on the disk at once: the file, in storage, and what is on its way."""


def main() -> int:
    """Measure, print, keep; returns the exit code."""
    options, console = _parser().parse_args(), Console()
    effort = QUICK if options.quick else Effort()
    try:
        _require_room(effort)
        text, path, failed = _measure(console, options, effort)
    except StackError as error:
        console.print(f"There is nothing to measure: {error}", markup=False)
        return 2
    console.print(Markdown(text) if console.is_terminal else text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"Kept in {path}, and the figures of every round beside it.", highlight=False, soft_wrap=True)
    if options.publish:
        insert(report.DOCUMENT, text, report.BEGIN, report.END)
        console.print("Published in docs/benchmarks.md.")
    return 1 if failed else 0


def _require_room(effort: Effort) -> None:
    needed = _COPIES * max(effort.one_bytes, effort.each_bytes * effort.many)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < needed:
        raise StackError(f"{tempfile.gettempdir()} has {free // MIB:,} MiB free, and {needed // MIB:,} are needed.")


def _measure(console: Console, options: argparse.Namespace, effort: Effort) -> tuple[str, Path, bool]:
    figures, failures = Figures(), list[str]()
    chosen = [one for one in scenarios.ROUND if not options.only or one.__name__ in options.only]
    console.print("Starting CourseHub and making files …")
    with worlds.running(effort) as world:
        _warm_up(world)
        started, load = time.monotonic(), os.getloadavg()[0]
        for round_ in range(options.rounds):
            for scenario in chosen:
                console.print(f"Round {round_ + 1} of {options.rounds}: {scenario.__name__.replace('_', ' ')}")
                if failure := _try(scenario, world, figures, round_):
                    failures.append(failure)
        run = Run(options.rounds, time.monotonic() - started, (load, os.getloadavg()[0]), options.quick)
    text = report.markdown(figures, run, _sizes(effort)) + "".join(f"- {failure}\n" for failure in failures)
    return text, report.save(figures, text, options.results), bool(failures)


def _try(scenario: Scenario, world: World, figures: Figures, round_: int) -> str:
    """Measure a scenario; says what went wrong, which does not stop the others."""
    try:
        scenario(world, figures, round_)
    except (AssertionError, OSError, HTTPException, BotoCoreError, ClientError, Boto3Error) as problem:
        world.empty_bucket()
        text = " ".join(f"{type(problem).__name__}: {problem}".split())
        return f"**Failed** in round {round_ + 1}, {scenario.__name__.replace('_', ' ')}: {text[:300]}"
    return ""


def _warm_up(world: World) -> None:
    """Upload small files, so that code is loaded and connections are open, and make the large ones."""
    small = world.file(12 * MIB)
    for way in scenarios.WAYS.values():
        sent = way(world, small)
        if sent.upload_id:
            world.wait_complete(sent.upload_id)
    ways.paced(world, 0.5)
    world.empty_bucket()
    for size in (world.effort.one_bytes, world.effort.each_bytes):
        world.file(size)


def _sizes(effort: Effort) -> str:
    return f"One file of {effort.one_bytes // MIB:,} MiB; {effort.many} of {effort.each_bytes // MIB:,} MiB at once"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uploads", description=__doc__.partition(":")[2].strip())
    parser.add_argument("--rounds", type=int, default=2, help="how often to measure everything (2)")
    parser.add_argument("--quick", action="store_true", help="upload smaller files")
    names = [scenario.__name__ for scenario in scenarios.ROUND]
    parser.add_argument("--only", nargs="+", choices=names, help="leave the other scenarios out")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="where to keep the figures")
    parser.add_argument("--publish", action="store_true", help="put the report into docs/")
    return parser


if __name__ == "__main__":
    sys.exit(main())
