"""Logs: one JSON object a line on stdout, without anything that would let a reader in."""

import logging
import logging.config
import re
from typing import Final

from pythonjsonlogger.json import JsonFormatter

_TICKET: Final = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")


class RedactingFormatter(JsonFormatter):
    """Formats as JSON, and blots out tickets that found their way into a message."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        return _TICKET.sub("<ticket>", super().format(record))


def configure(level: str) -> None:
    """Log to stdout from this level on."""
    formatter = {
        "()": RedactingFormatter,
        "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
        "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        "datefmt": "%Y-%m-%dT%H:%M:%S%z",
        "static_fields": {"service": "broadcast"},
        "json_ensure_ascii": False,
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": formatter},
            "handlers": {
                "stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}
            },
            "root": {"handlers": ["stdout"], "level": level},
            # At DEBUG these would write out what clients send, tickets included.
            "loggers": {
                name: {"level": max(level, "INFO", key=logging.getLevelName)} for name in ("daphne", "asyncio")
            },
        }
    )
