"""How many requests someone may make. Counts live in Redis; while it is away nobody is throttled."""

import time

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


def count(key: str) -> int:
    """Count one more under ``key`` and tell how many there were in this minute; 0 while Redis is away."""
    name = _name(key)
    try:
        with client().pipeline(transaction=False) as pipeline:
            pipeline.incr(name)
            pipeline.expire(name, _WINDOW_SECONDS)
            return int(pipeline.execute()[0])
    except redis.RedisError:
        metrics.FAILED_OPEN.labels("throttle").inc()
        return 0


def seconds_left() -> int:
    """Tell how many seconds the present minute has left, at least 1."""
    return _WINDOW_SECONDS - int(time.time()) % _WINDOW_SECONDS


def refuse_over(key: str, limit: int) -> None:
    """
    Refuse what was counted under ``key`` too often in this minute; counts nothing itself.

    Raises:
        errors.Throttled: it was counted ``limit`` times or more.
    """
    try:
        counted = int(client().get(_name(key)) or 0)  # type: ignore[arg-type]
    except redis.RedisError:
        metrics.FAILED_OPEN.labels("throttle").inc()
        return
    if counted >= limit:
        raise errors.Throttled(seconds_left())


def _name(key: str) -> str:
    return f"coursehub:throttle:{key}:{int(time.time()) // _WINDOW_SECONDS}"
