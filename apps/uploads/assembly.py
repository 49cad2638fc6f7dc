"""Making one object of what came: of an upload's parts, or of the partial uploads that it consists of."""

from collections.abc import Sequence

from django.db import transaction

from apps.uploads import receiving, services, sizes, storage
from apps.uploads.errors import Fenced
from apps.uploads.leases import Lease
from apps.uploads.models import Part, Protocol, Upload, UploadStatus

_COPIED_AT_ONCE_BYTES = 256 * 1024 * 1024
"""So much a server copies well before anybody takes it for dead."""


def assemble(upload: Upload, lease: Lease) -> None:
    """
    Make the object of an upload that has all its bytes; one that is made already stays.

    Raises:
        Fenced: the upload has ended, or the lease was lost; nothing was written since.
        storage.StorageAway, storage.StorageRefused: it could not be made.
    """
    if upload.parts_of and not upload.storage_upload_id:
        upload.storage_upload_id = receiving.ensure_multipart(storage.store(), upload, lease.token)
    if upload.parts_of and not upload.parts.exists():
        _join(upload, lease)
    elif upload.protocol == Protocol.S3:
        _note_sizes(upload)
    _complete(upload)


def _complete(upload: Upload) -> None:
    parts = list(upload.parts.order_by("number").values_list("number", "etag"))
    if not parts:
        raise storage.UploadMissing("Its end has taken its parts.")
    storage.store().complete_multipart(upload.key, upload.storage_upload_id, parts)


def _note_sizes(upload: Upload) -> None:
    """Keep how large the parts are that a client sent by itself, as storage says it."""
    try:
        found = storage.store().list_parts(upload.key, upload.storage_upload_id)
    except storage.UploadMissing:
        return  # it has been completed
    sizes = {part.number: part.size for part in found}
    total = sum(sizes.get(number, 0) for number in upload.parts.values_list("number", flat=True))
    Upload.objects.filter(pk=upload.pk, status=UploadStatus.PROCESSING).update(offset=total)
    upload.offset = total


# Of partial uploads


def _join(upload: Upload, lease: Lease) -> None:
    """Make parts of the partial uploads, which are complete then: all their bytes have come, and are elsewhere now."""
    sources = [_completed(source) for source in _sources(upload)]
    parts = _Joiner(upload).join(sources)
    with transaction.atomic():
        mine = Upload.objects.select_for_update(no_key=True).filter(pk=upload.pk, lease_token=lease.token)
        if not mine.filter(status=UploadStatus.PROCESSING):
            raise Fenced
        Part.objects.bulk_create(parts)
        for source in sources:
            came = source.offset
            services.throw_away(source, "joined")
            source.status, source.offset = UploadStatus.COMPLETE, came
            source.save()


def _sources(upload: Upload) -> list[Upload]:
    by_id = {str(source.pk): source for source in Upload.objects.filter(pk__in=upload.parts_of)}
    return [by_id[id_] for id_ in upload.parts_of]


def _completed(source: Upload) -> Upload:
    _complete(source)
    return source


class _Joiner:
    """
    Makes the parts of an upload: storage copies what partial uploads consist of, without the bytes coming here.

    Parts must not be too small, though: what is left over is read, and sent with the beginning of the next.
    """

    def __init__(self, upload: Upload) -> None:
        self._upload, self._store = upload, storage.store()
        self._parts, self._left_over = list[Part](), b""

    def join(self, sources: Sequence[Upload]) -> list[Part]:
        for source in sources:
            at = self._fill_up(source)
            if source.offset - at >= sizes.LEAST_PART_BYTES:
                self._copy(source, at)
            else:
                self._left_over += self._store.get_range(source.key, at, source.offset - at)
        if self._left_over:
            self._send()
        return self._parts

    def _fill_up(self, source: Upload) -> int:
        """Make what is left over a part, if it comes to one; returns how much of the source went into it."""
        if not self._left_over:
            return 0
        missing = max(0, sizes.LEAST_PART_BYTES - len(self._left_over))
        taken = self._store.get_range(source.key, 0, min(missing, source.offset))
        self._left_over += taken
        if len(self._left_over) >= sizes.LEAST_PART_BYTES:
            self._send()
        return len(taken)

    def _copy(self, source: Upload, at: int) -> None:
        """Copy the rest of a source, in equal pieces: one may not be smaller than a part."""
        left = source.offset - at
        size = -(-left // -(-left // _COPIED_AT_ONCE_BYTES))
        for start in range(at, source.offset, size):
            length = min(size, source.offset - start)
            id_, number = self._upload.storage_upload_id, len(self._parts) + 1
            self._note(self._store.copy_part(self._upload.key, id_, number, source.key, start, length), length)

    def _send(self) -> None:
        body, self._left_over = self._left_over, b""
        id_, number = self._upload.storage_upload_id, len(self._parts) + 1
        self._note(self._store.upload_part(self._upload.key, id_, number, body), len(body))

    def _note(self, etag: str, size: int) -> None:
        self._parts.append(Part(upload=self._upload, number=len(self._parts) + 1, size=size, etag=etag))
