"""Object storage in memory: what tests use in place of S3, held to the same tests as the real one."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO
from urllib.parse import urlencode

from apps.uploads.storage import (
    ObjectInfo,
    ObjectMissing,
    OpenMultipart,
    PartInfo,
    StorageAway,
    StorageRefused,
    UploadMissing,
)

LEAST_PART_BYTES = 5 * 1024 * 1024


@dataclass(slots=True)
class _Object:
    body: bytes
    content_type: str
    etag: str
    modified_at: datetime


@dataclass(slots=True)
class _Upload:
    key: str
    content_type: str
    initiated_at: datetime
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)


class MemoryStore:
    """
    One bucket.

    ``fail_next(verb, error)`` has the next call of a verb raise; ``away`` has all of them. ``calls`` counts them.
    ``now`` tells the time of what is written.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.objects: dict[str, _Object] = {}
        self.uploads: dict[str, _Upload] = {}
        self.calls: dict[str, int] = {}
        self.away = False
        self._now, self._numbers = now, itertools.count(1)
        self._failures: dict[str, list[Exception]] = {}

    def fail_next(self, verb: str, error: Exception) -> None:
        """Have the next call of ``verb`` raise this, and do nothing."""
        self._failures.setdefault(verb, []).append(error)

    def create_multipart(self, key: str, content_type: str) -> str:
        self._called("create_multipart")
        upload_id = f"upload-{next(self._numbers)}"
        self.uploads[upload_id] = _Upload(key, content_type, self._now())
        return upload_id

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes | IO[bytes], *, md5: bytes = b"") -> str:
        self._called("upload_part")
        upload, data = self._upload(key, upload_id), _read(body)
        if not 1 <= number <= 10_000:
            raise StorageRefused("InvalidArgument")
        if md5 and hashlib.md5(data).digest() != md5:  # noqa: S324 - what S3 compares
            raise StorageRefused("BadDigest")
        etag = _etag(data)
        upload.parts[number] = (etag, data)
        return etag

    def copy_part(self, key: str, upload_id: str, number: int, source_key: str, start: int, length: int) -> str:
        self._called("copy_part")
        upload, source = self._upload(key, upload_id), self._object(source_key).body
        if not 0 <= start < start + length <= len(source):
            raise StorageRefused("InvalidRange")
        data = source[start : start + length]
        upload.parts[number] = (_etag(data), data)
        return upload.parts[number][0]

    def list_parts(self, key: str, upload_id: str) -> list[PartInfo]:
        self._called("list_parts")
        parts = sorted(self._upload(key, upload_id).parts.items())
        return [PartInfo(number, etag, len(data)) for number, (etag, data) in parts]

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[tuple[int, str]]) -> None:
        self._called("complete_multipart")
        if upload_id not in self.uploads and key in self.objects:
            return
        upload = self._upload(key, upload_id)
        if not parts or [number for number, _ in parts] != sorted({number for number, _ in parts}):
            raise StorageRefused("InvalidPartOrder")
        chosen = [upload.parts.get(number, ("", b"")) for number, _ in parts]
        if any(have != want for (have, _), (_, want) in zip(chosen, parts, strict=True)):
            raise StorageRefused("InvalidPart")
        if any(len(data) < LEAST_PART_BYTES for _, data in chosen[:-1]):
            raise StorageRefused("EntityTooSmall")
        digest = hashlib.md5(b"".join(bytes.fromhex(etag.strip('"')) for etag, _ in chosen))  # noqa: S324
        body = b"".join(data for _, data in chosen)
        etag = f'"{digest.hexdigest()}-{len(chosen)}"'
        self.objects[key] = _Object(body, upload.content_type, etag, self._now())
        del self.uploads[upload_id]

    def abort_multipart(self, key: str, upload_id: str) -> None:
        self._called("abort_multipart")
        self.uploads.pop(upload_id, None)

    def put(self, key: str, body: bytes | IO[bytes], *, content_type: str = "application/octet-stream") -> str:
        self._called("put")
        data = _read(body)
        self.objects[key] = _Object(data, content_type, _etag(data), self._now())
        return self.objects[key].etag

    def get_range(self, key: str, start: int, length: int) -> bytes:
        self._called("get_range")
        return self._object(key).body[start : start + length] if length > 0 else b""

    def head(self, key: str) -> ObjectInfo:
        self._called("head")
        found = self._object(key)
        return ObjectInfo(key, len(found.body), found.etag, found.modified_at, found.content_type)

    def delete(self, key: str) -> None:
        self._called("delete")
        self.objects.pop(key, None)

    def list_objects(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        self._called("list_objects")
        for key, found in sorted(self.objects.items(), key=lambda item: item[0].encode()):
            if key.startswith(prefix) and key.encode() > after.encode():
                yield ObjectInfo(key, len(found.body), found.etag, found.modified_at)

    def list_multiparts(self, prefix: str) -> Iterator[OpenMultipart]:
        self._called("list_multiparts")
        for upload_id, upload in sorted(self.uploads.items(), key=lambda item: item[1].key):
            if upload.key.startswith(prefix):
                yield OpenMultipart(upload.key, upload_id, upload.initiated_at)

    def presign_get(self, key: str, seconds: int, *, content_type: str, disposition: str) -> str:
        query = {"response-content-type": content_type, "response-content-disposition": disposition, "seconds": seconds}
        return f"memory://bucket/{key}?{urlencode(query)}"

    def presign_part(self, key: str, upload_id: str, number: int, seconds: int) -> str:
        query = {"uploadId": upload_id, "partNumber": number, "seconds": seconds}
        return f"memory://bucket/{key}?{urlencode(query)}"

    def _called(self, verb: str) -> None:
        self.calls[verb] = self.calls.get(verb, 0) + 1
        if self.away:
            raise StorageAway
        if waiting := self._failures.get(verb):
            raise waiting.pop(0)

    def _upload(self, key: str, upload_id: str) -> _Upload:
        upload = self.uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise UploadMissing("NoSuchUpload")
        return upload

    def _object(self, key: str) -> _Object:
        if key not in self.objects:
            raise ObjectMissing("NoSuchKey")
        return self.objects[key]


def _read(body: bytes | IO[bytes]) -> bytes:
    return bytes(body) if isinstance(body, (bytes, bytearray, memoryview)) else body.read()


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324 - what S3 calls an ETag
