"""Telling the workers that an upload has all its bytes; the relay finds what they do not hear of."""

from collections.abc import Callable, Collection
from uuid import UUID

from apps.operations import hints

COMPLETE = "uploads.complete"
"""The task's name."""
QUEUE = "media"

_instead: Callable[[UUID], object] | None = None


def use(complete: Callable[[UUID], object] | None) -> None:
    """Have each upload completed at once instead of telling the workers; None: tell them again. For tests."""
    global _instead
    _instead = complete


def send(upload_ids: Collection[UUID]) -> None:
    """Have uploads completed soon; never raises."""
    if _instead:
        for upload_id in upload_ids:
            _instead(upload_id)
    else:
        hints.publish(COMPLETE, [str(upload_id) for upload_id in upload_ids], queue=QUEUE)
