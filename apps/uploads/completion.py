"""
After the last byte: the object is made of its parts, compared with what was said of it, looked at, and recorded.

Safe to be run at any time and any number of times: whoever does it holds the upload's lease, and whatever was done
before is found done. When storage is away it is tried again later, until the upload expires.
"""

import hashlib
import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F

from apps.core import clock, errors
from apps.operations import lifecycle, open_steps, runner
from apps.uploads import assembly, figures, leases, looking, purges, selectors, services, sizes, storage, targets
from apps.uploads.errors import Fenced, GaveUp, NotAllowed, WrongChecksum, WrongSize
from apps.uploads.inspection import inspector
from apps.uploads.inspection.facts import Facts
from apps.uploads.leases import Lease
from apps.uploads.models import StoredFile, Upload, UploadStatus

log = logging.getLogger(__name__)

TRIES_MAX = 5
"""A file whose processing crashed its worker so often is not tried again by itself."""
_PIECE_BYTES = 4 * 1024 * 1024
_LONGEST_PAUSE_SECONDS = 300


def complete(upload_id: UUID) -> None:
    """Complete an upload that has all its bytes; if someone does so already, or it has ended, nothing happens."""
    upload = Upload.objects.filter(pk=upload_id, status=UploadStatus.PROCESSING).first()
    if upload is None or not _has_begun(upload):
        return
    with leases.held(upload_id, [UploadStatus.PROCESSING], patience_seconds=0) as lease:
        if lease is not None:
            _complete(Upload.objects.get(pk=upload_id), lease)


def _has_begun(upload: Upload) -> bool:
    """See to it that the lane has begun the upload's step; False: it is somebody else's turn, or it failed."""
    if upload.step_id is None:
        runner.run_lane(upload.lane)
        waits = selectors.is_pending(upload)
        # Read after that: whoever has the lane may begin the step at any moment, and then it waits no more.
        upload.refresh_from_db()
        if upload.step_id is None and not waits:
            services.fail(upload.pk, GaveUp("The upload could not be begun."))
    return upload.step_id is not None and upload.status == UploadStatus.PROCESSING


def _complete(upload: Upload, lease: Lease) -> None:
    """Do it, and decide what a failure means."""
    Upload.objects.filter(pk=upload.pk).update(tries=F("tries") + 1)
    if upload.tries >= TRIES_MAX:
        _fail(upload, lease, GaveUp(), keep_bytes=True)
        return
    figures.finish(upload, upload.offset, UploadStatus.PROCESSING)
    try:
        facts, size, checksum = _look_at(upload, lease)
        _tell_size(upload, size)
        _record(upload, lease, facts, size, checksum)
    except Fenced:
        _leave(upload)
    except storage.StorageAway:
        _later(upload)
    except inspector.InspectionFailed:
        log.exception("A file could not be looked at.", extra={"uploadId": str(upload.pk)})
        _later(upload, counts=True)
    except storage.StorageRefused as error:
        # Of one that has ended meanwhile storage need not have anything any more.
        if _fail(upload, lease, GaveUp("Storage does not have the file as it was sent; upload it again.")):
            about = {"uploadId": str(upload.pk), "reason": str(error)}
            log.error("Storage refused to complete an upload.", extra=about)
    except (WrongSize, WrongChecksum, NotAllowed, errors.PayloadTooLarge) as error:
        _fail(upload, lease, error)


def _tell_size(upload: Upload, size: int) -> None:
    """Say that all is there of a file whose size nobody had said: until now its progress was none."""
    if upload.declared_size is None:
        upload.declared_size = size
        figures.finish(upload, size, UploadStatus.PROCESSING)


def _fail(upload: Upload, lease: Lease, error: errors.CourseHubError, *, keep_bytes: bool = False) -> bool:
    """End it without a file; False: it has ended meanwhile, or is somebody else's to complete."""
    return services.fail(upload.pk, error, keep_bytes=keep_bytes, token=lease.token)


def _leave(upload: Upload) -> None:
    """Have storage get rid of what was made of an upload, if its end has thrown everything away meanwhile."""
    made = {"key": upload.key, "storage_upload_id": upload.storage_upload_id}
    if not Upload.objects.filter(pk=upload.pk, **made).exists():
        purges.purge(**made, reason="fenced")
        purges.purge(upload.key, reason="fenced")


def _later(upload: Upload, *, counts: bool = False) -> None:
    """Have it tried again after a while; unless it ``counts`` as a try, until the upload expires."""
    pause = min(_LONGEST_PAUSE_SECONDS, 2 ** min(10, upload.retries + 1))
    Upload.objects.filter(pk=upload.pk).update(
        retry_at=clock.now() + timedelta(seconds=pause),
        retries=F("retries") + 1,
        tries=F("tries") if counts else upload.tries,
    )


# Looking at it


def _look_at(upload: Upload, lease: Lease) -> tuple[Facts, int, str]:
    """Make the object, and find out what it is; returns that, its size and its checksum, which may be empty."""
    assembly.assemble(upload, lease)
    size = storage.store().head(upload.key).size
    if upload.declared_size is None:
        sizes.check_found(upload.user, size, besides=upload.pk)
    elif size != upload.declared_size:
        raise WrongSize(announced=upload.declared_size, found=size)
    checksum = _checksum(upload, size)
    found = looking.look(upload.key, size)
    if found.category not in targets.of_kind(upload.target_kind).allowed():
        raise NotAllowed(contentType=found.content_type)
    return found, size, checksum


def _checksum(upload: Upload, size: int) -> str:
    """Give the file's SHA-256: as it passed by, or read again where someone wants it compared, or it is small."""
    known = upload.checksum
    if not known and (upload.declared_checksum or size <= settings.UPLOAD_HASHED_MAX_BYTES):
        known = _read_and_hash(upload.key, size)
    if upload.declared_checksum and known != upload.declared_checksum:
        raise WrongChecksum(announced=upload.declared_checksum, found=known)
    return known


def _read_and_hash(key: str, size: int) -> str:
    digest, at, store = hashlib.sha256(), 0, storage.store()
    while at < size and (piece := store.get_range(key, at, _PIECE_BYTES)):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()


# Recording it


@transaction.atomic
def _record(upload: Upload, lease: Lease, facts: Facts, size: int, checksum: str) -> None:
    """
    Write the file down, on what it is for, and end the step: one transaction.

    Raises:
        Fenced: the upload has ended, or the lease was lost.
    """
    now = clock.now()
    services.hold([upload])
    mine = Upload.objects.select_for_update(no_key=True).filter(pk=upload.pk, lease_token=lease.token)
    found = mine.filter(status=UploadStatus.PROCESSING).first()
    steps = open_steps.lock([found.step_id]) if found and found.step_id else []
    if not found:
        raise Fenced
    if not steps:
        return
    file = _stored_file(found, facts, size, checksum, now)
    outcome = targets.of_kind(found.target_kind).completed(found, steps[0], file, now)
    if outcome.error:
        found.status, found.error = UploadStatus.ERROR, dict(outcome.error)
        purges.discard([file])
        services.throw_away(found, "target gone")
    else:
        found.status, found.file = UploadStatus.COMPLETE, file
        # The multipart upload's id stays: some stores list one for a while after it has become an object.
        found.parts.all().delete()
    found.declared_size, found.finished_at = size, now
    found.save()
    lifecycle.conclude([outcome], now=now)


def _stored_file(upload: Upload, facts: Facts, size: int, checksum: str, now: datetime) -> StoredFile:
    return StoredFile.objects.create(
        key=upload.key,
        size=size,
        content_type=facts.content_type,
        category=facts.category,
        filename=upload.filename,
        checksum=checksum or None,
        duration_ms=facts.duration_ms,
        width=facts.width,
        height=facts.height,
        codecs=list(facts.codecs),
        format=facts.format,
        created_at=now,
    )
