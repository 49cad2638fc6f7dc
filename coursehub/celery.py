"""The Celery application. Its messages are hints: the step table is the queue."""

import gc
import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_process_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "coursehub.settings")

app = Celery("coursehub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def _keep_djangos_logging(**kwargs: Any) -> None:
    """Django's settings have set up logging; Celery is not to replace it."""


@worker_process_init.connect
def _spare_the_collector(**kwargs: Any) -> None:  # noqa: ARG001
    """Keep what was loaded at the start out of every garbage collection: it stays, and going through it takes 10 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
