"""The Celery application. Its messages are hints: the step table is the queue."""

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_init, worker_ready
from django.core.exceptions import ImproperlyConfigured

from coursehub import tuning
from coursehub.threads import WarmThreads

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "coursehub.settings")

app = Celery("coursehub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_configure.connect
def _read_settings(**kwargs: Any) -> None:  # noqa: ARG001
    """Say in one line what is wrong with the settings; Celery would say it with a traceback."""
    try:
        from coursehub import settings  # noqa: F401
    except ImproperlyConfigured as problem:
        raise SystemExit(str(problem)) from None


@setup_logging.connect
def _keep_djangos_logging(**kwargs: Any) -> None:
    """Django's settings have set up logging; Celery is not to replace it."""


@worker_init.connect
def _settle(**kwargs: Any) -> None:  # noqa: ARG001
    from celery.apps import worker
    from kombu.transport import redis

    tuning.settle()
    redis.Channel.do_restore = property(_is_connected)  # type: ignore[assignment]
    worker.safe_say = _say_as_json  # type: ignore[attr-defined]


def _is_connected(channel: Any) -> bool:
    """Whether hints can be given back. Otherwise Kombu tries in vain, and writes them to a file; the relay has them."""
    return channel.connection is not None and channel.connection.client is not None


def _say_as_json(message: str, file: Any) -> None:
    """Say what Celery would print in plain text. Not by logging: a signal may have interrupted just that."""
    time = logging.Formatter().formatTime(logging.makeLogRecord({}))
    line = {"time": time, "level": "INFO", "logger": "celery.worker", "message": message}
    os.write(file.fileno(), f"{json.dumps(line)}\n".encode())


@worker_ready.connect
def _keep_threads_warm(sender: Any, **kwargs: Any) -> None:  # noqa: ARG001
    # Said again after each new connection to the broker: what is at work by then stays. Processes have no executor.
    if type(getattr(sender.pool, "executor", None)) is ThreadPoolExecutor:
        sender.pool.executor = WarmThreads(sender.pool.limit)
