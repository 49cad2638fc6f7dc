"""
Uploads that go straight to storage: the client has each part's URL signed, and says which parts have arrived.

What it says counts for progress only. When it says that all have arrived, storage is asked (`assembly`, `completion`).
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Greatest

from apps.core import clock, errors
from apps.uploads import figures, hints, receiving, services, sizes, storage
from apps.uploads.errors import Busy, Fenced
from apps.uploads.models import Part, Protocol, Upload, UploadStatus
from apps.uploads.storage import PartInfo

URL_SECONDS = 3600
_LOOKS_EVERY_SECONDS = 1.0
_KEPT = 10_000
_PROLONGED_AFTER = timedelta(hours=1)

_ASKING_AT_ONCE = 4
_PATIENCE_SECONDS = 0.5
"""So long a question waits for a place: storage that is well has answered many by then."""

_places = threading.BoundedSemaphore(_ASKING_AT_ONCE)
_looked_at: "OrderedDict[UUID, float]" = OrderedDict()
_lock = threading.Lock()


def sign(upload: Upload, numbers: Collection[int]) -> dict[int, str]:
    """
    Make URLs to which the parts with these numbers may be PUT within the hour.

    Raises:
        errors.Invalid: no file of the upload's size has parts with such numbers.
        errors.Conflict: the upload is not open for parts.
        errors.PayloadTooLarge: more has arrived than it may have, and so it has ended.
        Busy, storage.StorageAway: storage has to be asked first, and does not answer.
    """
    _check_open(upload)
    _check_numbers(upload, numbers)
    if not upload.storage_upload_id:
        try:
            with _asking() as asked:
                upload.storage_upload_id = receiving.ensure_multipart(asked, upload)
        except Fenced:
            raise errors.Conflict("This upload has ended.") from None
    _prolong(upload)
    _look(upload)
    store, id_ = storage.store(), upload.storage_upload_id
    return {number: store.presign_part(upload.key, id_, number, URL_SECONDS) for number in sorted(set(numbers))}


def arrived(upload: Upload) -> list[PartInfo]:
    """
    Ask storage which parts have arrived. An upload that got more than it may have ends.

    Raises:
        errors.PayloadTooLarge: it has ended so.
        Busy, storage.StorageAway: it does not answer.
    """
    _check_open(upload)
    if not upload.storage_upload_id:
        return []
    with _asking() as asked:
        found = asked.list_parts(upload.key, upload.storage_upload_id)
    count = sum(part.size for part in found)
    _hold_to_size(upload, count)
    _note(upload, count)
    return found


def report(upload: Upload, parts: Sequence[Part]) -> None:
    """
    Take a client's word for parts that have arrived, so that everyone sees how far it is.

    Raises:
        errors.Invalid: a part occurs twice.
    """
    _check_open(upload)
    _check_each_once(parts)
    Part.objects.bulk_create(
        parts, update_conflicts=True, unique_fields=["upload", "number"], update_fields=["size", "etag"]
    )
    _note(upload, sum(upload.parts.values_list("size", flat=True)))


def finish(upload: Upload, parts: Sequence[Part]) -> None:
    """
    Hand an upload, of which the client says that these are its parts, to the workers. Done already, nothing happens.

    Raises:
        errors.Invalid: a part occurs twice.
        errors.Conflict: nothing has come, or it ended otherwise.
    """
    if upload.status in (UploadStatus.PROCESSING, UploadStatus.COMPLETE):
        return
    _check_open(upload)
    _check_each_once(parts)
    if not upload.storage_upload_id:
        raise errors.Conflict("No part of this upload has been signed yet.")
    told = upload.declared_size or upload.offset
    figures.finish(upload, told, UploadStatus.UPLOADING)
    if _hand_over(upload, parts, told):
        hints.send([upload.pk])


@transaction.atomic
def _hand_over(upload: Upload, parts: Sequence[Part], told: int) -> bool:
    """Give it to the workers, who tell no figure below ``told``; False: it has ended, or they have it."""
    is_open = Upload.objects.filter(pk=upload.pk, status=UploadStatus.UPLOADING)
    until, reported = clock.now() + services.idle_time(), Greatest("reported", told)
    if not is_open.update(status=UploadStatus.PROCESSING, expires_at=until, reported=reported):
        return False
    upload.parts.all().delete()
    Part.objects.bulk_create(parts)
    return True


def part(upload: Upload, number: int, etag: str, size: int | None) -> Part:
    """Make a part of what a client says; quotes around its ETag are often lost on the way."""
    bare = etag.strip('"')
    return Part(upload=upload, number=number, size=size or 0, etag=f'"{bare}"')


@contextmanager
def _asking() -> Iterator[storage.Store]:
    """Take one of the few places for questions to storage: while it hangs, the other threads get on."""
    if not _places.acquire(timeout=_PATIENCE_SECONDS):
        raise Busy
    try:
        yield storage.brief()
    finally:
        _places.release()


def _check_open(upload: Upload) -> None:
    if upload.protocol != Protocol.S3:
        raise errors.NotFound("There is no such upload.")
    if upload.status in (UploadStatus.ERROR, UploadStatus.ABORTED):
        raise errors.Gone("This upload has ended without its file.")
    if upload.status != UploadStatus.UPLOADING:
        raise errors.Conflict("This upload has all its parts.", status=upload.status)


def _check_numbers(upload: Upload, numbers: Collection[int]) -> None:
    last = sizes.parts_max(upload.declared_size)
    if not all(1 <= number <= last for number in numbers):
        raise errors.Invalid(fields={"partNumbers": [f"Parts of this file are numbered from 1 to {last}."]})


def _check_each_once(parts: Sequence[Part]) -> None:
    if len({part.number for part in parts}) != len(parts):
        raise errors.Invalid(fields={"parts": ["Each part once."]})


def _prolong(upload: Upload) -> None:
    """Keep it open for longer; not with every request."""
    until = clock.now() + services.idle_time()
    if until - upload.expires_at > min(_PROLONGED_AFTER, services.idle_time() / 4):
        Upload.objects.filter(pk=upload.pk, status=UploadStatus.UPLOADING).update(expires_at=until)


def _look(upload: Upload) -> None:
    """
    Ask storage how far the upload is, at most once a second, and if there is a place.

    So clients that sign as they go need not report.
    """
    now = time.monotonic()
    with _lock:
        if now - _looked_at.get(upload.pk, -_LOOKS_EVERY_SECONDS) < _LOOKS_EVERY_SECONDS:
            return
        _looked_at[upload.pk] = now
        _looked_at.move_to_end(upload.pk)
        while len(_looked_at) > _KEPT:
            _looked_at.popitem(last=False)
    with suppress(Busy):
        arrived(upload)


def _hold_to_size(upload: Upload, count: int) -> None:
    """End an upload of which storage has more than it may have: the URLs that are out would take more and more."""
    try:
        sizes.check_arrived(upload, count)
    except errors.PayloadTooLarge as error:
        services.fail(upload.pk, error)
        raise


def _note(upload: Upload, count: int) -> None:
    """Tell how many bytes there are, never fewer than before, never more than announced, or than any file may have."""
    limit = settings.UPLOAD_MAX_BYTES if upload.declared_size is None else upload.declared_size
    count = max(upload.offset, min(count, limit))
    Upload.objects.filter(pk=upload.pk, status=UploadStatus.UPLOADING).update(offset=Greatest("offset", count))
    upload.offset = count
    figures.offer(upload, count, UploadStatus.UPLOADING)
    figures.keep(upload, count)
