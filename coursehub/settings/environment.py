"""The one place that reads the API's and the workers' environment."""

import os
import re
from collections.abc import Collection
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from broadcast.contracts.origins import FORM, is_origin

_CENTURY = timedelta(days=36_500)


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


def url(name: str, default: str, *schemes: str, host: bool = True) -> str:
    """Read a URL of one of these schemes, which names a ``host``, unless it need not; the default may be anything."""
    value = os.environ.get(name)
    if value and not _leads_somewhere(value, schemes, host):
        # Without the value: there may be a password in it.
        named = " or ".join(f"{scheme}://" for scheme in schemes)
        whither = " and names a host" if host else ""
        raise ImproperlyConfigured(f"{name} must be a URL that begins with {named}{whither}; a port is a number.")
    return value or default


def _leads_somewhere(value: str, schemes: Collection[str], host: bool) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in schemes and parts.port != 0 and (bool(parts.hostname) or not host)
    except ValueError:  # the port is no number
        return False


def items(name: str, default: str = "", *, among: Collection[str] = ()) -> list[str]:
    """Read a comma-separated list; where it has to be some of what is known, that is ``among``."""
    found = [item.strip() for item in text(name, default).split(",") if item.strip()]
    if among and not (found and set(found) <= set(among)):
        raise ImproperlyConfigured(f"{name} must be some of {', '.join(among)}, not {text(name, default)!r}.")
    return found


def origins(name: str, default: str = "", *, subdomains: bool = False) -> list[str]:
    """Read a comma-separated list of web origins; ``subdomains``: all of a host may be meant, as ``https://*.host``."""
    found = items(name, default)
    for origin in found:
        if not is_origin(origin.replace("://*.", "://", 1) if subdomains else origin):
            raise ImproperlyConfigured(f"{name} must be {FORM}, not {origin!r}.")
    return found


def one_of(name: str, default: str, known: Collection[str]) -> str:
    """Read a name that is known, in whatever case."""
    value = text(name, default).upper()
    if value not in known:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(known)}, not {value!r}.")
    return value


def directory(name: str) -> str:
    """Read the path of a directory that is there; empty: none was named."""
    path = text(name, "")
    if path and not os.path.isdir(path):
        raise ImproperlyConfigured(f"{name} must be a directory that is there, not {path!r}.")
    return path


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


def number(name: str, default: int, *, least: int = 0, most: int | None = None) -> int:
    """Read a whole number that is not too small or too large."""
    value = text(name, str(default))
    if not re.fullmatch("[0-9]{1,18}", value):
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.")
    if int(value) < least or (most is not None and int(value) > most):
        limits = f"at least {least}" if most is None else f"between {least} and {most}"
        raise ImproperlyConfigured(f"{name} must be {limits}, not {value}.")
    return int(value)


def lasting(name: str, default: int, unit: timedelta, *, least: int = 0) -> int:
    """Read how many of a unit of time something lasts: at most a hundred years, since no date is much further away."""
    return number(name, default, least=least, most=_CENTURY // unit)


def port(name: str, default: int) -> int:
    """Read the number of a port to listen on."""
    return number(name, default, least=1, most=65535)


def seconds(name: str, default: float) -> float:
    """Read how long something takes; parts of a second are told with a point."""
    value = text(name, str(default))
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?|\.[0-9]+", value):
        raise ImproperlyConfigured(f"{name} must be a number of seconds, not {value!r}.")
    return float(value)


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
    if not _leads_somewhere(url, ("postgres", "postgresql"), host=False):
        raise ImproperlyConfigured(
            "DATABASE_URL must begin with postgresql://, and a port is a number; PostgreSQL is the only database."
        )
    parts = urlsplit(url)
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
