"""JSON logs whose every line says which request and which operation it belongs to."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_context: ContextVar[dict[str, str]] = ContextVar("log_context", default={})  # noqa: B039 (never changed in place)


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
