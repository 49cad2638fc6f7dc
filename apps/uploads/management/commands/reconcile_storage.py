"""Report what storage and the database disagree about, and mend it."""

from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.uploads import reconciling
from apps.uploads.reconciling import Difference
from apps.uploads.storage import StorageAway, StorageRefused

DIFFERENCES, UNKNOWN = 1, 2
"""Exit codes: something is left to be mended; nobody knows, because storage did not answer."""

_MOST_MINUTES = 366 * 24 * 60


class Command(BaseCommand):
    help = (
        "Report what storage and the database disagree about; with --mend also mend it. Safe while uploads go on. "
        "Exits with 1 if differences are left, with 2 if storage does not answer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--mend", action="store_true", help="mend what can be mended; otherwise nothing is changed")
        parser.add_argument(
            "--grace-minutes",
            dest="grace",
            type=minutes,
            default="60",
            help="leave alone what is younger than this (60)",
            metavar="N",
        )

    def handle(self, *args: Any, mend: bool, grace: timedelta, **options: Any) -> None:
        left, mended = Counter[str](), Counter[str]()
        try:
            for one in reconciling.differences(grace):
                is_mended = mend and one.mend()
                (mended if is_mended else left)[one.kind] += 1
                self._say(one, is_mended=is_mended)
        except (StorageAway, StorageRefused) as error:
            raise CommandError(f"Storage does not answer: {error.__cause__ or error}", returncode=UNKNOWN) from error
        if mended:
            self.stdout.write(f"Mended: {_counted(mended)}.")
        if left:
            raise CommandError(f"Differences: {_counted(left)}.", returncode=DIFFERENCES)
        self.stdout.write("Storage and the database agree.")

    def _say(self, one: Difference, *, is_mended: bool) -> None:
        self.stdout.write(f"{one.kind}: {one.name} ({one.about}){' – mended' if is_mended else ''}")


def minutes(text: str) -> timedelta:
    """Read a grace time; argparse names this function where it is no number."""
    number = float(text)
    if not 0 <= number <= _MOST_MINUTES:
        raise ArgumentTypeError(f"must be between 0 and {_MOST_MINUTES}, a year, not {text}")
    return timedelta(minutes=number)


def _counted(kinds: "Counter[str]") -> str:
    return ", ".join(f"{count} × {kind}" for kind, count in kinds.items())
