"""``python -m coursehub.stack services``: PostgreSQL and Valkey, for work on the parts themselves."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from queue import SimpleQueue

from coursehub.stack import errors
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.services import Services


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 1: it could not, and standard error says why."""
    parser = argparse.ArgumentParser(prog="python -m coursehub.stack", description=__doc__)
    parser.add_argument("command", choices=["services"])
    parser.parse_args(arguments)
    try:
        return services()
    except errors.StackError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def services() -> int:
    """Run PostgreSQL and Valkey until told to stop; print what a shell needs to use them."""
    signals: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: signals.put(number))
    data = DataDirectory.open(os.environ.get("COURSEHUB_DATA") or ".data")
    with Services(data, say=_say) as running:
        for name, value in running.env.items():
            _say(f"export {name}={shlex.quote(value)}")
        signals.get()
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
