"""
What storage and the database disagree about, and what mends it.

Both are gone through side by side, page by page, while uploads go on. What is seen that way may be older than a
moment, so each finding is looked at once more by itself: a file's row is compared with its own object, and whether
anything refers to a key is asked by one statement, which sees one moment. What is younger than the grace time is left
alone: it may be about to be written down.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from django.db.models import Q
from django.db.models.functions import Collate

from apps.core import clock, sql
from apps.uploads import purges, services, storage
from apps.uploads.errors import GaveUp
from apps.uploads.models import Purge, StoredFile, Upload, UploadStatus
from apps.uploads.storage import ObjectInfo, OpenMultipart, bucket

PREFIXES = (bucket.CHECKS_PREFIX, "courses/", "media/", services.PARTIAL_PREFIX)
"""Under which our keys are; nothing else in the bucket is looked at."""
_AT_ONCE = 500
_REASON = "reconciled"


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is in one place only. ``mend`` says whether nothing is left to be done about it."""

    kind: str
    name: str
    about: str
    mend: Callable[[], bool]


def differences(grace: timedelta) -> Iterator[Difference]:
    """
    Find all, one after the other; each may be mended before the next is asked for.

    Raises:
        storage.StorageAway, storage.StorageRefused: storage could not be asked.
    """
    before = clock.now() - grace
    for prefix in PREFIXES:
        yield from _objects_and_files(prefix, before)
        yield from _multiparts(prefix, before)
    yield from _uploads(before)
    yield from _purges(before)


# Objects and files


def _objects_and_files(prefix: str, before: datetime) -> Iterator[Difference]:
    files = StoredFile.objects.filter(key__startswith=prefix).order_by(Collate("key", "C")).iterator(_AT_ONCE)
    pairs = _side_by_side(storage.store().list_objects(prefix), files)
    unpaired = ((found, file) for found, file in pairs if file is None or found is None or file.missing_since)
    while some := list(islice(unpaired, _AT_ONCE)):
        strangers = [found for found, file in some if file is None and found and found.modified_at < before]
        yield from _strangers(strangers)
        for file in (file for _, file in some if file is not None):
            yield from _file(file)


def _side_by_side(
    objects: Iterator[ObjectInfo], files: Iterator[StoredFile]
) -> Iterator[tuple[ObjectInfo | None, StoredFile | None]]:
    """Pair what has the same key; both are in the order of their keys."""
    found, file = next(objects, None), next(files, None)
    while found or file:
        if found and (file is None or found.key < file.key):
            yield found, None
            found = next(objects, None)
        elif file and (found is None or file.key < found.key):
            yield None, file
            file = next(files, None)
        else:
            yield found, file
            found, file = next(objects, None), next(files, None)


_UNKNOWN = """
    SELECT given.key FROM unnest(%b::text[]) AS given(key)
    WHERE NOT EXISTS (SELECT FROM uploads_storedfile file WHERE file.key = given.key)
    AND NOT EXISTS (
        SELECT FROM uploads_upload upload WHERE upload.key = given.key
        AND (upload.status IN ('uploading', 'processing') OR upload.status = 'error' AND upload.storage_upload_id <> '')
    )
    AND NOT EXISTS (
        SELECT FROM uploads_upload upload
        WHERE upload.key = split_part(given.key, '.tail-', 1) AND upload.tail_key = given.key
    )
    AND NOT EXISTS (
        SELECT FROM uploads_purge purge WHERE purge.key = given.key AND purge.storage_upload_id = ''
    )
"""


def _strangers(objects: Sequence[ObjectInfo]) -> Iterator[Difference]:
    """
    Find the objects that nothing refers to. Nothing ever will: a key is in the database before it is in storage.

    Only a tail is in storage first. In between the grace time protects it, and where the API dies just then it stays
    behind until it is found here: to write it down before would be a statement for every request that brings bytes.
    """
    unknown = {key for (key,) in sql.rows(_UNKNOWN, [[found.key for found in objects]])} if objects else set()
    for found in objects:
        if found.key in unknown:
            about = f"{found.size:,} bytes of {found.modified_at:%Y-%m-%d %H:%M}"
            yield Difference("object without a row", found.key, about, partial(_purge, found.key))


def _purge(key: str, storage_upload_id: str = "") -> bool:
    purges.purge(key, storage_upload_id=storage_upload_id, reason=_REASON)
    return True


def _file(file: StoredFile) -> Iterator[Difference]:
    """Compare a file's row with its object by itself: listings may lag behind."""
    is_there = _is_object(file.key)
    current = StoredFile.objects.filter(pk=file.pk).first()
    if current is None:
        return
    if not is_there:
        about = f"{file.filename!r}, since {current.missing_since or clock.now():%Y-%m-%d %H:%M}"
        yield Difference("row without an object", file.key, about, partial(_mark, current))
    elif current.missing_since:
        yield Difference("object that is back", file.key, repr(file.filename), partial(_unmark, current))


def _mark(file: StoredFile) -> bool:
    """Note that a file's object is missing. That alone does not mend it: only a backup, or another upload, does."""
    StoredFile.objects.filter(pk=file.pk, missing_since=None).update(missing_since=clock.now())
    return False


def _unmark(file: StoredFile) -> bool:
    StoredFile.objects.filter(pk=file.pk).update(missing_since=None)
    return True


def _is_object(key: str) -> bool:
    try:
        storage.store().head(key)
    except storage.ObjectMissing:
        return False
    return True


# Multipart uploads


def _multiparts(prefix: str, before: datetime) -> Iterator[Difference]:
    """
    Find the multipart uploads that nobody knows.

    Unlike a key, its id is in storage before it is in the database, since storage makes it up (`ensure_multipart`). In
    between only the grace time protects it.
    """
    old = (one for one in storage.store().list_multiparts(prefix) if one.initiated_at < before)
    while some := list(islice(old, _AT_ONCE)):
        known = _known_multiparts(some)
        for one in some:
            if one.upload_id not in known:
                mend = partial(_purge, one.key, one.upload_id)
                yield Difference("unknown multipart upload", one.key, f"of {one.initiated_at:%Y-%m-%d %H:%M}", mend)


def _known_multiparts(some: Iterable[OpenMultipart]) -> set[str]:
    """Name those that an upload needs, or that will be aborted already; one statement, as throwing away moves them."""
    ids, keys = [one.upload_id for one in some], [one.key for one in some]
    # An aborted upload has none that is wanted. A complete one may: some stores list it for a while.
    uploads = Upload.objects.filter(key__in=keys, storage_upload_id__in=ids).exclude(status=UploadStatus.ABORTED)
    in_uploads = uploads.values_list("storage_upload_id")
    in_purges = Purge.objects.filter(key__in=keys, storage_upload_id__in=ids).values_list("storage_upload_id")
    return {id_ for (id_,) in in_uploads.union(in_purges)}


# Uploads and purges


def _uploads(before: datetime) -> Iterator[Difference]:
    """Find open uploads of which storage has lost what it once took."""
    begun = Q(storage_upload_id__gt="") | Q(tail_key__gt="")
    uploads = Upload.objects.filter(begun, status=UploadStatus.UPLOADING, created_at__lt=before)
    for upload in uploads.order_by("pk").iterator(_AT_ONCE):
        if not _has_its_bytes(upload) and _is_still(upload):
            error = GaveUp("What had come of this upload is gone from storage; upload it again.")
            mend = partial(_end, upload, error)
            yield Difference("upload without its parts", str(upload.pk), repr(upload.filename), mend)


def _end(upload: Upload, error: GaveUp) -> bool:
    services.fail(upload.pk, error)
    return True


def _has_its_bytes(upload: Upload) -> bool:
    if upload.tail_key and not _is_object(upload.tail_key):
        return False
    try:
        if upload.storage_upload_id:
            storage.store().list_parts(upload.key, upload.storage_upload_id)
    except storage.UploadMissing:
        return False
    return True


def _is_still(upload: Upload) -> bool:
    """See whether the row is what it was: it changes before storage does."""
    same: dict[str, Any] = {"storage_upload_id": upload.storage_upload_id, "tail_key": upload.tail_key}
    return Upload.objects.filter(pk=upload.pk, status=UploadStatus.UPLOADING, **same).exists()


def _purges(before: datetime) -> Iterator[Difference]:
    for one in Purge.objects.filter(due_at__lt=before).order_by("pk").iterator(_AT_ONCE):
        about = f"tried {one.attempts} times; {one.last_error or 'nobody got to it'}"
        yield Difference("unfinished purge", one.key, about, partial(purges.try_now, one))
