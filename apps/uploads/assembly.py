"""Making one object of what came: of an upload's parts, or of the partial uploads that it consists of."""

from apps.uploads import services, storage
from apps.uploads.models import Part, Protocol, Upload, UploadStatus


def assemble(upload: Upload) -> None:
    """
    Make the object of an upload that has all its bytes; one that is made already stays.

    Raises:
        storage.StorageAway, storage.StorageRefused: it could not be made.
    """
    if upload.parts_of and not upload.storage_upload_id:
        _begin(upload)
    if upload.parts_of and not upload.parts.exists():
        _join(upload)
    elif upload.protocol == Protocol.S3:
        _note_sizes(upload)
    _complete(upload)


def _complete(upload: Upload) -> None:
    parts = upload.parts.order_by("number").values_list("number", "etag")
    storage.store().complete_multipart(upload.key, upload.storage_upload_id, list(parts))


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


def _begin(upload: Upload) -> None:
    made = storage.store().create_multipart(upload.key, upload.declared_type or "application/octet-stream")
    upload.storage_upload_id = made
    Upload.objects.filter(pk=upload.pk).update(storage_upload_id=made)


def _join(upload: Upload) -> None:
    """Make parts of the partial uploads."""
    sources = [_completed(source) for source in _sources(upload)]
    parts = _read_and_sent(upload, sources)
    Part.objects.bulk_create(parts)
    for source in sources:
        services.throw_away(source, "joined")
        source.status = UploadStatus.COMPLETE
        source.save()


def _sources(upload: Upload) -> list[Upload]:
    by_id = {str(source.pk): source for source in Upload.objects.filter(pk__in=upload.parts_of)}
    return [by_id[id_] for id_ in upload.parts_of]


def _completed(source: Upload) -> Upload:
    _complete(source)
    return source


def _read_and_sent(upload: Upload, sources: list[Upload]) -> list[Part]:
    """Send small partial uploads on: a part of storage's must not be as small as they are."""
    store, parts, buffer = storage.store(), list[Part](), bytearray()

    def send(body: bytes) -> None:
        number = len(parts) + 1
        etag = store.upload_part(upload.key, upload.storage_upload_id, number, body)
        parts.append(Part(upload=upload, number=number, size=len(body), etag=etag))

    for source in sources:
        for start in range(0, source.offset, upload.part_size):
            buffer += store.get_range(source.key, start, min(upload.part_size, source.offset - start))
            while len(buffer) >= upload.part_size:
                send(bytes(buffer[: upload.part_size]))
                del buffer[: upload.part_size]
    if buffer:
        send(bytes(buffer))
    return parts
