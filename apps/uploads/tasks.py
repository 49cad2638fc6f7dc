"""What Celery runs for uploads."""

from uuid import UUID

from celery import shared_task
from django.db import InterfaceError, OperationalError, connection

from apps.uploads import completion, hints


@shared_task(name=hints.COMPLETE, ignore_result=True)
def complete(upload_id: str) -> None:
    """Complete an upload. Safe to run twice, late, or not at all: the relay finds what is left."""
    try:
        completion.complete(UUID(upload_id))
    except (OperationalError, InterfaceError):
        connection.close()
        completion.complete(UUID(upload_id))
