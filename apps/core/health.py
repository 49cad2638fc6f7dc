"""What operators and load balancers ask: alive, ready, and how it is going."""

import threading
from collections.abc import Callable
from functools import wraps

import redis
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from prometheus_client import CONTENT_TYPE_LATEST

from apps.core import errors, metrics, rendering
from apps.core.redis import client

Check = Callable[[], object]
View = Callable[[HttpRequest], HttpResponse]

_draining = threading.Event()
_checks: dict[str, Check] = {}


def drain() -> None:
    """Say from now on that this process wants no new requests."""
    _draining.set()


def report(part: str, check: Check) -> None:
    """Register a check of a part that may be away: it raises, or it is fine."""
    _checks[part] = check


def _for_asking(view: View) -> View:
    """Have a view answer GET and HEAD, and refuse the rest, with a CSRF token or without."""

    @csrf_exempt
    @wraps(view)
    def ask(request: HttpRequest) -> HttpResponse:
        if request.method in ("GET", "HEAD"):
            return view(request)
        refusal = rendering.answer_error(errors.MethodNotAllowed())
        refusal["Allow"] = "GET, HEAD"
        return refusal

    return ask


@_for_asking
def healthz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """Answer 200 as long as this process can answer at all."""
    return JsonResponse({"status": "alive"})


@_for_asking
def readyz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """Answer 200 while requests are welcome; parts that are away but not needed are listed under ``degraded``."""
    if _draining.is_set():
        return JsonResponse({"status": "draining"}, status=503)
    if not _database_answers():
        return JsonResponse({"status": "unavailable", "database": "away"}, status=503)
    degraded = [part for part, check in _checks.items() if not _passes(check)]
    status = "degraded" if degraded else "ready"
    return JsonResponse({"status": status, "degraded": degraded})


@_for_asking
def metrics_page(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Give the metrics in Prometheus' text format."""
    return HttpResponse(metrics.exposition(), content_type=CONTENT_TYPE_LATEST)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    return True


def _passes(check: Check) -> bool:
    try:
        check()
    except Exception:
        return False
    return True


def redis_answers() -> None:
    """Check Redis; raises when it is away."""
    if not client().ping():
        raise redis.ConnectionError
