"""What Celery runs for uploads."""

import logging
from uuid import UUID

from celery import shared_task

from apps.core import outages
from apps.uploads import completion, hints

log = logging.getLogger(__name__)


@shared_task(name=hints.COMPLETE, ignore_result=True)
def complete(upload_id: str) -> None:
    """Complete an upload. Safe to run twice, late, or not at all: the relay finds what is left."""
    outages.try_twice(log, lambda: completion.complete(UUID(upload_id)))
