"""Names and passwords: wherever someone signs in with them, at the API or the admin, only so many may be wrong."""

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from apps.accounts.models import User
from apps.core import throttling


class LimitedBackend(ModelBackend):
    """Django's own, but guessing becomes slow."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **more: Any
    ) -> User | None:
        """
        Find the user with this name and password.

        Raises:
            errors.Throttled: too many were wrong in this minute.
        """
        # Each counts as wrong until it is known to be right: looking takes long, and many may come meanwhile.
        counted = throttling.count_within(_limits(request, username)) if request and username else []
        user = super().authenticate(request, username, password, **more)
        if user is not None:
            throttling.take_back(counted)
        return user


def _limits(request: HttpRequest, username: str) -> dict[str, int]:
    """Say how many failures a minute are borne from one address: for one name, and for all names together."""
    limit, address = settings.FAILED_LOGINS_PER_MINUTE, BaseThrottle().get_ident(Request(request))
    return {f"login:{address}:{username.casefold()}": limit, f"login:{address}": limit * 10} if limit else {}
