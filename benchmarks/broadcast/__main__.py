"""``make bench-broadcast``: the broadcast service beside its peers and the limit. Nothing else may run."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.broadcast import bench as benches
from benchmarks.broadcast import connecting, fanning, ingesting, manners, model, report, streaming
from benchmarks.broadcast.bench import QUICK, Bench, Effort
from benchmarks.broadcast.loader import LoadFailed
from benchmarks.broadcast.peers.base import PeerFailed
from benchmarks.broadcast.report import Run
from benchmarks.broadcast.tools import ToolMissing
from coursehub.stack.errors import StackError

ROUND: tuple[Callable[[Bench], None], ...] = (
    fanning.fanout,
    fanning.fanout_many,
    fanning.topics,
    ingesting.ingest,
    ingesting.durable,
    ingesting.processes,
    connecting.connecting,
    connecting.resuming,
    connecting.memory,
    fanning.growth,
    streaming.streams,
    manners.manners,
)
"""What makes a round."""


def main() -> int:
    """Measure, print, keep; returns the exit code."""
    options, console = _parser().parse_args(), Console()
    try:
        text, path, failed = _measure(console, options)
    except (StackError, ToolMissing, PeerFailed, LoadFailed) as error:
        for line in ("There is nothing to show:", str(error), *getattr(error, "__notes__", ())):
            console.print(line, markup=False)
        return 2
    console.print(Markdown(text) if console.is_terminal else text, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"Kept in {path}, with a plot and the figures of every round beside it.", highlight=False, soft_wrap=True
    )
    if options.publish:
        report.publish(path)
        if not options.only and not failed:
            tables = model.markdown(model.read(options.results / report.LATEST))
            report.insert(model.DOCUMENT, tables, model.BEGIN, model.END)
        console.print("Published in docs/.")
    return 1 if failed else 0


def _measure(console: Console, options: argparse.Namespace) -> tuple[str, Path, bool]:
    effort = QUICK if options.quick else Effort()
    chosen = [scenario for scenario in ROUND if not options.only or scenario.__name__ in options.only]
    with benches.running(effort) as bench:
        started, load = time.monotonic(), os.getloadavg()[0]
        for round_ in range(options.rounds):
            for scenario in chosen:
                console.print(f"Round {round_ + 1} of {options.rounds}: {scenario.__name__.replace('_', ' ')}")
                _try(bench, scenario, round_ + 1)
        run = Run(options.rounds, time.monotonic() - started, (load, os.getloadavg()[0]), options.quick)
        text = report.markdown(bench, run)
        whole = not options.only and not bench.failed
        return text, report.save(bench.figures, text, options.results, whole=whole), bench.failed


def _try(bench: Bench, scenario: Callable[[Bench], None], round_: int) -> None:
    """Measure a scenario; what fails is told in the report and does not stop the others."""
    try:
        scenario(bench)
    except (PeerFailed, LoadFailed) as problem:
        text = " ".join(f"{problem}".split())
        bench.remark(f"**Failed** in round {round_}, {scenario.__name__.replace('_', ' ')}: {text}")
        bench.failed = True
        bench.loader.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.broadcast", description=__doc__.partition(":")[2].strip()
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often to measure everything (3)")
    parser.add_argument("--quick", action="store_true", help="do less in each round")
    names = [scenario.__name__ for scenario in ROUND]
    parser.add_argument("--only", nargs="+", choices=names, help="leave the other scenarios out")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="where to keep the figures")
    parser.add_argument("--publish", action="store_true", help="put tables and plot into docs/")
    return parser


if __name__ == "__main__":
    sys.exit(main())
