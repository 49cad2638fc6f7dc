"""The Celery application. Its messages are hints: the step table is the queue."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_init

from coursehub import tuning

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "coursehub.settings")

app = Celery("coursehub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def _keep_djangos_logging(**kwargs: Any) -> None:
    """Django's settings have set up logging; Celery is not to replace it."""


@worker_init.connect
def _settle(**kwargs: Any) -> None:  # noqa: ARG001
    tuning.settle()
