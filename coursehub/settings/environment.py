"""The one place that reads the API's and the workers' environment."""

import os
import re
from collections.abc import Collection
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def required(*names: str) -> list[str]:
    """
    Read variables that have no default.

    Raises:
        ImproperlyConfigured: names all that are missing at once.
    """
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise ImproperlyConfigured(
            f"Set {', '.join(missing)} in the environment (docs/deployment.md explains each); "
            "`make run` brings its own."
        )
    return [os.environ[name] for name in names]


def text(name: str, default: str) -> str:
    """Read a variable; an empty one counts as absent."""
    return os.environ.get(name) or default


def url(name: str, default: str, *schemes: str) -> str:
    """Read a URL of one of these schemes, which names a host; an empty default may stay."""
    value = text(name, default)
    if value and not _leads_somewhere(value, schemes):
        # Without the value: there may be a password in it.
        named = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ImproperlyConfigured(
            f"{name} must be a URL that begins with {named} and names a host; a port is a number."
        )
    return value


def _leads_somewhere(value: str, schemes: Collection[str]) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number
        return False


def items(name: str, default: str = "") -> list[str]:
    """Read a comma-separated list."""
    return [item.strip() for item in text(name, default).split(",") if item.strip()]


def flag(name: str, default: bool) -> bool:
    """Read a switch: on, true, yes, 1, or off, false, no, 0."""
    value = os.environ.get(name, "").lower()
    if value in ("on", "true", "yes", "1"):
        return True
    if value in ("off", "false", "no", "0"):
        return False
    if value:
        raise ImproperlyConfigured(f"{name} must be on or off, not {value!r}.")
    return default


def number(name: str, default: int) -> int:
    """Read a whole number that is not negative."""
    value = text(name, str(default))
    if not value.isdigit():
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.")
    return int(value)


def per_minute(name: str, default: str) -> int:
    """Read a rate such as ``600/min``; ``0`` means no limit and gives 0."""
    value = text(name, default)
    match = re.fullmatch(r"(\d+)(?:/(s|sec|m|min|h|hour))?", value)
    if not match:
        raise ImproperlyConfigured(f"{name} must look like 600/min, or be 0, not {value!r}.")
    count, unit = int(match[1]), (match[2] or "m")[0]
    return max(1, round(count * {"s": 60, "m": 1, "h": 1 / 60}[unit])) if count else 0


def database(url: str) -> dict[str, Any]:
    """
    Turn ``postgresql://user:password@host:port/name`` into Django's form.

    The host may be a directory with a Unix socket, percent-encoded or as ``?host=``.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise ImproperlyConfigured("DATABASE_URL must begin with postgresql://; PostgreSQL is the only database.")
    query = dict(pair.partition("=")[::2] for pair in parts.query.split("&") if pair)
    host = unquote(query.pop("host", "")) or unquote(parts.hostname or "")
    return {
        "ENGINE": "apps.core.postgres",
        "NAME": unquote(parts.path.lstrip("/")) or "coursehub",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or query.pop("port", "") or ""),
        "OPTIONS": {name: unquote(value) for name, value in query.items()},
    }
