"""Raise every topic's seq, after the database was restored from a backup."""

from typing import Any

from django.core.management.base import BaseCommand

from apps.outbox import services

_BY = 1_000_000
"""More than any topic has lost; seqs have room for billions of such leaps."""


class Command(BaseCommand):
    help = (
        "Raise every topic's seq by 1,000,000, after the database was restored from a backup and before the parts are "
        "started: clients that have seen what the database does not know any more are told to refetch. "
        "Flush the broadcast service's Redis first."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        topics = services.raise_seqs(by=_BY)
        self.stdout.write(f"Raised {topics:,} topics by {_BY:,}.")
