"""What happens to every request before and after its view."""

import logging
import re
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.views import View

from apps.core import bodies, ids, logs, metrics

log = logging.getLogger("coursehub.access")

_METHODS = {name.upper() for name in View.http_method_names}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

Handler = Callable[[HttpRequest], HttpResponse]


class RequestContext:
    """Names the request, logs and measures it."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = _request_id(request)
        with logs.context(requestId=request_id):
            started = time.perf_counter()
            response = self._respond(request)
            _record(request, response, time.perf_counter() - started)
        response["X-Request-ID"] = request_id
        return response

    def _respond(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.method == "HEAD" and not response.streaming:
            response.content = b""  # otherwise gunicorn warns of it; its length has been set
        return response


class Bodies:
    """Refuses a body that is too large, or broken; after CORS, or pages of other origins could not read why."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if refusal := bodies.refusal(request):
            return bodies.refuse(request, refusal)
        response = self.get_response(request)
        bodies.see_to_unread(request, response)
        return response


def _request_id(request: HttpRequest) -> str:
    given = request.headers.get("X-Request-ID", "")
    return given if _REQUEST_ID.fullmatch(given) else str(ids.new_id())


def _record(request: HttpRequest, response: HttpResponse, seconds: float) -> None:
    match = request.resolver_match
    route = match.route if match else "unknown"
    # Clients may call a method anything, and each name would be sixteen more series for ever.
    method = request.method if request.method in _METHODS else "other"
    metrics.REQUEST_SECONDS.labels(method, route, response.status_code).observe(seconds)
    level = logging.ERROR if response.status_code >= 500 else logging.INFO
    values = {"method": request.method, "path": request.path, "status": response.status_code}
    # The query string stays out of the log: it may carry what is nobody else's business.
    log.log(level, "request", extra={**values, "milliseconds": round(seconds * 1000, 2)})
