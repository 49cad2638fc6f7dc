"""CourseHub on this machine: everything, or only the services behind it."""

import argparse
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

from coursehub.stack import errors, parts, postgres, report, staging, swift
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.services import Services
from coursehub.stack.stack import Stack

_DEFAULT_PORTS = {"PORT": "8000", "WEBSOCKET_PORT": "8080"}


class Stopped(BaseException):
    """Someone asked us to stop."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 1: it could not, and standard error says why."""
    options = _parser().parse_args(arguments)
    commands: dict[str, Callable[[argparse.Namespace], None]] = {"run": run, "services": services, "clean": clean}
    try:
        _stop_on_signals()
        commands[options.command](options)
    except errors.StackError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    except Stopped:
        report.say("Stopped.")
    return 0


def run(options: argparse.Namespace) -> None:
    """Run everything until told to stop."""
    given = _DEFAULT_PORTS | {name: os.environ[name] for name in parts.OURS if os.environ.get(name)}
    data = _data()
    report.say(f"Starting CourseHub with its data in {data.path} …")
    hear = report.Listener(options.verbose)
    with Stack(data, given=given, restart=True, hear=hear, say=report.say) as stack:
        report.say(report.banner(stack))
        _wait(options.with_parent)


def services(options: argparse.Namespace) -> None:
    """Run PostgreSQL, Valkey and Swift until told to stop; print what a shell needs to use them."""
    with Services(_data(), say=report.say) as running:
        for name, value in running.env.items():
            report.say(f"export {name}={shlex.quote(value)}")
        _wait(options.with_parent)


def clean(_: argparse.Namespace) -> None:
    """Delete all data, also what had to be kept elsewhere."""
    data = _data()
    data.lock()
    if elsewhere := staging.elsewhere(data.path / postgres.Postgres.name):
        shutil.rmtree(elsewhere)
    if (objects := data.path / swift.Swift.name).is_symlink():
        shutil.rmtree(objects.resolve(), ignore_errors=True)
    shutil.rmtree(data.path)
    report.say(f"Deleted {data.path}.")


def _data() -> DataDirectory:
    return DataDirectory.open(os.environ.get("COURSEHUB_DATA") or ".data")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m coursehub.stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (run, services, clean):
        sub = commands.add_parser(command.__name__, help=command.__doc__)
        sub.add_argument("--verbose", action="store_true", help="show every line that the parts log")
        sub.add_argument("--with-parent", action="store_true", help="stop when the calling process ends")
    return parser


def _stop_on_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Unwind from wherever we are; stopping itself is not interrupted again."""
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    report.say("\nStopping …")
    raise Stopped


def _wait(with_parent: bool) -> None:
    """Wait for a signal, or for the end of whoever started us."""
    parent = os.getppid()
    while not with_parent or os.getppid() == parent:
        time.sleep(1)
    raise Stopped
