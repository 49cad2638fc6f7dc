"""What ``manage.py check`` says of the settings."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from django.conf import settings
from django.core import checks

_SECRETS = ("SECRET_KEY", "BROADCAST_SECRET", "TICKET_SECRET")


def register() -> None:
    """Have Django make these checks before each of its commands."""
    checks.register(secrets_differ, checks.Tags.security)


def secrets_differ(**_: Any) -> list[checks.CheckMessage]:
    """Warn of secrets that are the same: who learns one could then do what the other is for."""
    return list(_same_secrets())


def _same_secrets() -> Iterator[checks.CheckMessage]:
    for one, other in combinations(_SECRETS, 2):
        if getattr(settings, one) == getattr(settings, other):
            yield checks.Warning(
                f"{one} and {other} are the same.",
                hint="Make each by itself: openssl rand -hex 32",
                id="coursehub.W001",
            )
