"""What the relay does for uploads."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.db.models import Exists, OuterRef, Q

from apps.core import clock, outages
from apps.operations.models import Operation
from apps.outbox import relay
from apps.outbox.relay import Chore
from apps.uploads import completion, selectors, services
from apps.uploads.errors import UploadExpired
from apps.uploads.models import OPEN, Upload, UploadStatus

log = logging.getLogger(__name__)

_PATIENCE = timedelta(seconds=2)
_AT_ONCE = 50


def register() -> None:
    """Give the relay its chores for uploads."""
    relay.register(lambda: Chore("complete-left-uploads", 2.0, complete_left))
    relay.register(lambda: Chore("expire-uploads", min(60.0, settings.UPLOAD_IDLE_SECONDS / 4), expire))
    relay.register(lambda: Chore("forget-uploads", 3600, forget_old))


def complete_left() -> None:
    """Complete uploads that no worker is at: the hint was lost, its worker died, or storage was away."""
    for upload_id in selectors.left_lying(_PATIENCE, _AT_ONCE):
        try:
            completion.complete(upload_id)
        except Exception as error:
            outages.report(log, "An upload could not be completed.", error, uploadId=str(upload_id))
            connection.close()


def expire() -> None:
    """End uploads that were abandoned, and throw away what is kept of failed ones that nobody tried again."""
    for upload_id in selectors.expired(_AT_ONCE):
        services.fail(upload_id, UploadExpired(), unheard_since=clock.now())
    kept = Upload.objects.filter(status=UploadStatus.ERROR, expires_at__lt=clock.now()).exclude(storage_upload_id="")
    for upload in kept[:_AT_ONCE]:
        services.forget_bytes(upload.pk)


def forget_old() -> None:
    """Delete uploads that ended over `OPERATION_KEPT_DAYS` ago, but for those whose file or operation is there."""
    limit = clock.now() - timedelta(days=settings.OPERATION_KEPT_DAYS)
    # When a partial upload ended is not written down.
    old = Q(finished_at__lt=limit) | Q(finished_at=None, expires_at__lt=limit)
    # What failed may have bytes in storage, for another try: `expire` throws them away first.
    has_bytes = Q(status=UploadStatus.ERROR, storage_upload_id__gt="")
    # Whoever repeats the creation is told of the upload again, as long as the operation is kept.
    operation = Operation.objects.filter(user=OuterRef("user"), key=OuterRef("operation_key"))
    ended = Upload.objects.filter(old, ~Exists(operation), file=None).exclude(status__in=OPEN).exclude(has_bytes)
    while ids := list(ended.values_list("pk", flat=True)[:_AT_ONCE]):
        Upload.objects.filter(pk__in=ids).delete()
