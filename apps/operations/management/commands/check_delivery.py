"""Send one operation through everything, and say how long it was where."""

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand

from apps.operations.checking import journey
from apps.operations.checking.journey import Report, Station

ARRIVED, WARNED, STOPPED = 0, 1, 2
"""Exit codes, as monitoring plug-ins have them."""


class Command(BaseCommand):
    help = (
        "Send one operation from here through database, worker, outbox, bridge and channel layer to a WebSocket, and "
        "say how long it was where. It changes nothing that anyone sees. "
        "Exit code 0: it arrived; 1: it arrived, but something is wrong; 2: it stopped, and the message says where."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--timeout", type=_seconds, default=10, metavar="SECONDS", help="for all of it (10)")
        parser.add_argument("--url", help="the WebSocket to listen at (WEBSOCKET_PUBLIC_URL)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        report = journey.check(timeout_seconds=options["timeout"], url=options["url"])
        self.stdout.write(as_json(report) if options["json"] else as_text(report))
        sys.exit(exit_code(report))


def exit_code(report: Report) -> int:
    """Choose the exit code."""
    if report.stopped_at:
        return STOPPED
    return WARNED if report.warnings else ARRIVED


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 3600:
        raise ArgumentTypeError("a number of seconds, over 0 and at most 3600")
    return seconds


def _total(report: Report) -> float:
    return round(sum(report.milliseconds.values()) - report.milliseconds.get(Station.CONNECT, 0), 1)


def as_json(report: Report) -> str:
    """Say it to a program."""
    content = {
        "delivered": report.stopped_at is None,
        "stoppedAt": report.stopped_at,
        "problem": report.problem or None,
        "warnings": report.warnings,
        "milliseconds": report.milliseconds,
        "totalMilliseconds": _total(report),
    }
    return json.dumps(content)


def as_text(report: Report) -> str:
    """Say it to a person."""
    lines = [f"{station:<8} {report.milliseconds[station]:>9.1f} ms" for station in report.milliseconds]
    lines += [f"Warning: {warning}" for warning in report.warnings]
    if report.stopped_at:
        lines.append(f"Stopped at {report.stopped_at}: {report.problem}")
    else:
        lines.append(f"Delivered in {_total(report):.1f} ms.")
    return "\n".join(lines)
