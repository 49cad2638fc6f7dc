"""One request that brings bytes: it needs a free place, the upload's lease, and to begin where the upload is."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.core import errors
from apps.uploads import figures, hints, leases, receiving, services, sizes, storage
from apps.uploads.errors import Busy, Fenced, GaveUp, Locked, OffsetConflict
from apps.uploads.leases import Lease
from apps.uploads.models import Upload, UploadStatus
from apps.uploads.receiving import Receiver, Source
from apps.uploads.tus.headers import Checksum

_SPARE_PARTS_ON_DISK = 4


class Places:
    """The places in one process, fewer than its threads: whatever happens, saves get through. One user has half."""

    def __init__(self, count: int) -> None:
        self._count, self._of_each = count, (count + 1) // 2
        self._taken: Counter[UUID] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def one_for(self, user_id: UUID) -> Iterator[None]:
        """
        Take a place for a user.

        Raises:
            Busy: there is none, or none for this user.
        """
        with self._lock:
            if self._taken.total() >= self._count:
                raise Busy
            if self._taken[user_id] >= self._of_each:
                raise Busy("Too many of your uploads run at this moment; go on in a second.")
            self._taken[user_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= Counter([user_id])


_places = Places(settings.UPLOADS_AT_ONCE)


@dataclass(slots=True)
class Body:
    """A request's body and what its headers say about it. ``length`` None: it comes in chunks."""

    source: Source
    length: int | None
    checksum: Checksum | None = None
    connection: socket.socket | None = None
    was_interrupted: bool = False

    def interrupt(self) -> None:
        """Have a read that waits for more return at once. Nothing more can be read from the connection, either."""
        self.was_interrupted = True
        if self.connection:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RD)

    def was_taken(self, count: int) -> bool:
        """Tell whether so many bytes were all of it, so that the connection may have another request."""
        return count == self.length and not self.was_interrupted


def receive(upload_id: UUID, user_id: UUID, body: Body, *, offset: int, size: int | None = None) -> Upload:
    """
    Take a body into a user's upload at an offset; returns the upload as it is then.

    ``size`` is the file's, where it was not known before. Whoever moves bytes of this upload now is asked to let go.

    Raises:
        Busy, Locked: there is no place for this user; another request does not let go.
        OffsetConflict: the upload is somewhere else.
        errors.CourseHubError: what `Receiver.run` raises.
    """
    statuses, place = [UploadStatus.UPLOADING], _places.one_for(user_id)
    with place, leases.held(upload_id, statuses, interrupt=body.interrupt) as lease:
        if lease is None:
            raise _refusal(upload_id)
        upload = Upload.objects.select_related("user").get(pk=upload_id)
        if upload.offset != offset:
            raise OffsetConflict(upload.offset)
        _declare(upload, size)
        limit = _limit(upload, body.length)
        _move(upload, lease, body, limit)
        is_done = upload.status == UploadStatus.PROCESSING
        if is_done:
            # The lease is still held: whoever completes it has figures of its own, and none may come before this one.
            figures.finish(upload, upload.offset, UploadStatus.UPLOADING)
    if is_done:
        hints.send([upload.pk])
    return upload


def _refusal(upload_id: UUID) -> errors.CourseHubError:
    upload = Upload.objects.get(pk=upload_id)
    if upload.status == UploadStatus.UPLOADING:
        return Locked()
    if upload.status in (UploadStatus.ERROR, UploadStatus.ABORTED):
        return errors.Gone("This upload has ended without its file.")
    return OffsetConflict(upload.offset)


def _declare(upload: Upload, size: int | None) -> None:
    """Keep a size that comes later than the upload."""
    if size is None or size == upload.declared_size:
        return
    if upload.declared_size is not None or size < upload.offset:
        raise errors.Invalid(fields={"Upload-Length": ["The length is known, or more has come already."]})
    sizes.check(size)
    with transaction.atomic():
        sizes.make_room_for_more(upload.user, size, besides=upload.pk)
        upload.declared_size = size
        # Where nothing is missing the size is written down with the last part: whoever reads that all is there goes.
        if size > upload.offset:
            Upload.objects.filter(pk=upload.pk).update(declared_size=size)


def _limit(upload: Upload, length: int | None) -> int:
    """Tell how many bytes the upload may come to; refuse a body that is longer before any of it is read."""
    limit = settings.UPLOAD_MAX_BYTES if upload.declared_size is None else upload.declared_size
    if length is not None and upload.offset + length > limit:
        raise errors.PayloadTooLarge("This is more than was announced.", maximum=limit - upload.offset)
    if receiving.free_spool_bytes() < _SPARE_PARTS_ON_DISK * upload.part_size:
        raise Busy("There is no room for parts on this machine's disk.")
    return int(limit)


def _move(upload: Upload, lease: Lease, body: Body, limit: int) -> None:
    receiver = Receiver(upload, lease, body.source, limit, body.length, body.checksum, _teller(upload))
    figures.offer(upload, upload.offset, UploadStatus.UPLOADING)
    try:
        receiver.run()
    except Fenced:
        raise Locked from None
    except storage.UploadMissing:
        # Its parts are gone from storage: nothing can be added to it any more.
        services.fail(upload.pk, GaveUp("What had come of this upload is gone from storage; upload it again."))
        raise errors.Gone("What had come of this upload is gone from storage; upload it again.") from None
    finally:
        # Whoever goes on tells what comes next; nothing of this request's may come in between.
        figures.stop(upload)


def _teller(upload: Upload) -> Callable[[int], None]:
    """Make what is called for every piece, so that the next figure is the newest: also if no other piece follows."""
    newest = upload.offset

    def tell(count: int) -> None:
        nonlocal newest
        newest = count
        figures.follow(upload, lambda: newest, UploadStatus.UPLOADING)

    return tell
