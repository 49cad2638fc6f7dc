"""How many requests someone may make. Counts live in Redis; while it is away nobody is throttled."""

import time
from collections.abc import Iterable, Mapping

import redis
from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from apps.core import errors, metrics
from apps.core.redis import client

_WINDOW_SECONDS = 60


class PerUser(BaseThrottle):
    """Lets each user make ``THROTTLE_USER_PER_MINUTE`` requests in each minute of the clock; 0: any number."""

    def allow_request(self, request: Request, view: object) -> bool:  # noqa: ARG002
        limit = settings.THROTTLE_USER_PER_MINUTE
        if not limit or not request.user.is_authenticated:
            return True
        return count(f"user:{request.user.pk}") <= limit

    def wait(self) -> float:
        return seconds_left()


class PerAddress(BaseThrottle):
    """Lets each address sign in or register ``LOGINS_PER_MINUTE`` times in each minute of the clock; 0: any number."""

    def allow_request(self, request: Request, view: object) -> bool:  # noqa: ARG002
        limit = settings.LOGINS_PER_MINUTE
        return not limit or count(f"logins:{self.get_ident(request)}") <= limit

    def wait(self) -> float:
        return seconds_left()


def count(key: str) -> int:
    """Count one more under ``key`` and tell how many there were in this minute; 0 while Redis is away."""
    return _change(_name(key), 1)


def count_within(limits: Mapping[str, int]) -> list[str]:
    """
    Count one more under each key, and give what `take_back` needs if it should not have counted.

    Raises:
        errors.Throttled: with it there were more in this minute than the key's limit; the keys after that are left.
    """
    names = {_name(key): limit for key, limit in limits.items()}
    for name, limit in names.items():
        if _change(name, 1) > limit:
            raise errors.Throttled(seconds_left())
    return list(names)


def take_back(counted: Iterable[str]) -> None:
    """Have what `count_within` counted be as if it had not been, in whatever minute that was."""
    for name in counted:
        _change(name, -1)


def seconds_left() -> int:
    """Tell how many seconds the present minute has left, at least 1."""
    return _WINDOW_SECONDS - int(time.time()) % _WINDOW_SECONDS


def _change(name: str, by: int) -> int:
    try:
        with client().pipeline(transaction=False) as pipeline:
            pipeline.incrby(name, by)
            pipeline.expire(name, _WINDOW_SECONDS)
            return int(pipeline.execute()[0])
    except redis.RedisError:
        metrics.FAILED_OPEN.labels("throttle").inc()
        return 0


def _name(key: str) -> str:
    return f"coursehub:throttle:{key}:{int(time.time()) // _WINDOW_SECONDS}"
