"""Questions about uploads."""

from datetime import timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.accounts.models import User
from apps.core import clock, errors
from apps.operations.models import Step, StepStatus
from apps.uploads.models import OPEN, Upload, UploadStatus


def visible_to(user: User) -> "QuerySet[Upload]":
    """Return the uploads that a user may see: their own."""
    return Upload.objects.filter(user=user).select_related("file")


def whole(user: User, *, resumable: bool) -> "QuerySet[Upload]":
    """Return the user's uploads that are for something; partial ones are told by those that consist of them."""
    uploads = visible_to(user).filter(is_partial=False)
    return uploads.filter(status__in=OPEN) if resumable else uploads


def upload(user: User, upload_id: UUID) -> Upload:
    """
    Find one of the user's uploads.

    Raises:
        errors.NotFound: there is none.
    """
    found = visible_to(user).filter(pk=upload_id).first()
    if found is None:
        raise errors.NotFound("There is no such upload.")
    return found


def has_another(of: Upload) -> bool:
    """Say whether another upload to the same target is under way."""
    begun = Upload.objects.filter(target_id=of.target_id, status__in=OPEN, step__isnull=False)
    return begun.exclude(pk=of.pk).exists()


def is_pending(upload: Upload) -> bool:
    """Say whether a step of the upload waits for its turn in the lane."""
    steps = Step.objects.filter(lane=upload.lane, status=StepStatus.PENDING)
    return steps.filter(payload__uploadId=str(upload.pk)).exists()


def left_lying(patience: timedelta, limit: int) -> list[UUID]:
    """Name uploads with all their bytes whose completion nobody is at, and that are due; the oldest first."""
    now = clock.now()
    ready = Upload.objects.filter(status=UploadStatus.PROCESSING, created_at__lt=now - patience)
    free = Q(lease_token=None) | Q(lease_expires_at__lt=now)
    due = Q(retry_at=None) | Q(retry_at__lt=now)
    return list(ready.filter(free, due).order_by("id").values_list("pk", flat=True)[:limit])


def expired(limit: int) -> list[UUID]:
    """Name open uploads of which nothing was heard for too long."""
    now = clock.now()
    silent = Upload.objects.filter(status__in=OPEN, expires_at__lt=now)
    free = Q(lease_token=None) | Q(lease_expires_at__lt=now)
    return list(silent.filter(free).order_by("expires_at").values_list("pk", flat=True)[:limit])
