"""JSON logs whose every line says which request and which operation it belongs to."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_context: ContextVar[dict[str, str]] = ContextVar("log_context", default={})  # noqa: B039 (never changed in place)
_QUERY = re.compile(r"\?.+", re.DOTALL)


@contextmanager
def context(**names: str) -> Iterator[None]:
    """Add names such as ``requestId`` or ``operationId`` to every line logged inside."""
    token = _context.set({**_context.get(), **names})
    try:
        yield
    finally:
        _context.reset(token)


def add(**names: str) -> None:
    """Add names to every line logged from here to the end of the enclosing `context`."""
    _context.set({**_context.get(), **names})


class ContextFilter(logging.Filter):
    """Puts the names of the present `context` on each record that does not bring them itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in _context.get().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class WithoutQuery(logging.Filter):
    """Cuts a message off where a query string begins: gunicorn names whole URIs, and those may carry tickets."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _QUERY.sub("?…", record.getMessage()), ()
        return True


LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def config(level: str, *, stream: str = "stdout") -> dict[str, Any]:
    """Describe the logs of API, worker and relay (`logging.config.dictConfig`): JSON, from this level on."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "context": {"()": "apps.core.logs.ContextFilter"},
            "without_query": {"()": "apps.core.logs.WithoutQuery"},
        },
        "formatters": {
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
            }
        },
        "handlers": {
            "json": {
                "class": "logging.StreamHandler",
                "stream": f"ext://sys.{stream}",
                "formatter": "json",
                "filters": ["context"],
            }
        },
        "root": {"handlers": ["json"], "level": level},
        "loggers": {
            "django.request": {"level": "CRITICAL"},  # the access log says it, once and with its ids
            "django.security.DisallowedHost": {"level": "ERROR"},
            # A hint comes and goes with every save; what it led to is logged by the runner, with its operationIds.
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            # It brings a handler of its own, which writes plain text.
            "gunicorn.error": {"level": "NOTSET", "handlers": [], "propagate": True, "filters": ["without_query"]},
        },
    }
