"""The API as a WSGI application."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "coursehub.settings")

_django = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """
    Serve a request (PEP 3333).

    Of a response that says ``Connection: close`` gunicorn would say keep-alive all the same, and then close if the
    request's body was not read to its end: the client's next request would be lost.
    """

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        if ("Connection", "close") in headers and (close := getattr(_response_of(start_response), "force_close", None)):
            close()
        return start_response(status, headers, *more)

    return _django(environ, start)


def _response_of(start_response: Callable[..., Any]) -> Any:
    return getattr(start_response, "__self__", None)
