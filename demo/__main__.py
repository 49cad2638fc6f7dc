"""
``make demo``: plays every use case on real courses, films and library included, and checks every event that comes.

Ends with 0 when everything came that had to, once, in order, and to nobody else; with 1 when not; with 2 when there was
nothing to play on.
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from websockets.exceptions import WebSocketException

from coursehub.stack import datadir
from coursehub.stack.errors import StackError
from coursehub.stack.stack import Stack
from demo import judge, plays
from demo.board import Board, LiveBoard, PlainBoard
from demo.replica import OutOfStep
from demo.stage import Missing, Stage, Wrong
from demo.timing import milliseconds, percentile


def main() -> int:
    """Play, judge, report; returns the exit code."""
    options = _parser().parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150)
    try:
        with _running(options.url, console) as url:
            return _show(url, console)
    except (StackError, OSError) as error:
        console.print(f"There is nothing to play on: {error}", markup=False)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__.partition(":")[2].strip())
    parser.add_argument("--url", help="a running API, such as http://127.0.0.1:8000; otherwise one is found or started")
    return parser


@contextlib.contextmanager
def _running(url: str | None, console: Console) -> Iterator[str]:
    """Find the API that runs: the one named, the one of ``make run``, or one started for the while."""
    url = url or _url_of_make_run()
    if url:
        yield url
        return
    console.print("Nothing runs here: starting a CourseHub of our own, which goes away afterwards …")
    with Stack(login=False) as stack:
        yield stack.api_url


def _url_of_make_run() -> str | None:
    state = datadir.read_state(Path(os.environ.get("COURSEHUB_DATA") or ".data"))
    return str(state["apiUrl"]) if state else None


def _show(url: str, console: Console) -> int:
    board = LiveBoard(console) if console.is_terminal else PlainBoard(console)
    console.print(f"Playing on {url}", highlight=False)
    started = time.monotonic()
    stage = Stage(url, board)
    with board.live if isinstance(board, LiveBoard) else contextlib.nullcontext():
        wrong = _complaints(stage)
    stage.close()
    _report(console, board, wrong, time.monotonic() - started)
    return 1 if wrong else 0


def _complaints(stage: Stage) -> list[str]:
    """Play, then judge, even where the play had to stop half way."""
    wrong: list[str] = []
    with _noting(stage, wrong):
        plays.play(stage)
    with _noting(stage, wrong):
        wrong.extend(judge.problems(stage))
    return wrong


@contextlib.contextmanager
def _noting(stage: Stage, wrong: list[str]) -> Iterator[None]:
    """Take what stops the play for one more thing that is wrong."""
    try:
        yield
    except (Missing, Wrong, OutOfStep, AssertionError, OSError, WebSocketException) as problem:
        wrong.append(f"{stage.use_case}: {problem or repr(problem)}")


def _report(console: Console, board: Board, wrong: list[str], seconds: float) -> None:
    rows = board.rows()
    console.print(board.summary())
    single = [value for row in rows if row.use_case.split()[0] in plays.SINGLE_EDITS for value in row.times]
    if single:
        p50, p99 = (milliseconds(percentile(single, percent)) for percent in (50, 99))
        console.print(f"Single edits, save → event on every screen: p50 {p50} ms, p99 {p99} ms.", highlight=False)
    for problem in wrong:
        console.print(f"WRONG  {problem}", markup=False, highlight=False, style="red", soft_wrap=True)
    verdict = f"Wrong: {len(wrong)}." if wrong else "None missing, doubled, out of order, or seen by others."
    console.print(f"{len(rows)} events in {seconds:.1f} s. {verdict}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
