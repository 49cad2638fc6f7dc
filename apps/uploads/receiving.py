"""
Bytes through the API: from a request into the parts of a multipart upload.

The request's thread reads pieces of 64 KiB and spools them to disk; a full part goes to storage by a small pool while
the next is read. What is left at the end, too small for a part, becomes an object beside the upload, from which any
other machine goes on. Memory holds a piece and what the S3 client sends at a time, whatever the file's size.

Parts are written down in their order, and only while the lease is held. With a checksum nothing is written down before
it is known to be right.
"""

import hashlib
import shutil
import tempfile
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any, Protocol
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.core import bodies, clock, errors
from apps.uploads import purges, services, storage
from apps.uploads.errors import ChecksumMismatch, Fenced
from apps.uploads.leases import Lease
from apps.uploads.models import Part, Upload, UploadStatus
from apps.uploads.tus.headers import Checksum

PIECE_BYTES = 64 * 1024
PARTS_IN_FLIGHT = 3
_SENDERS = 8
_HASHES_KEPT = 256


class Source(Protocol):
    """A request's body."""

    def read(self, size: int, /) -> bytes:
        """Read up to so many bytes; less only where the body ends or breaks off."""


@dataclass(slots=True)
class _Sent:
    """A part, or the tail, on its way to storage."""

    number: int
    size: int
    future: "Future[str]"


@dataclass(slots=True)
class Receiver:
    """
    Takes one request's body into an upload, whose lease is held.

    ``limit`` is how many bytes the upload may have in all; ``on_bytes`` hears how many there are, the unsafe included.
    """

    upload: Upload
    lease: Lease
    source: Source
    limit: int
    length: int | None = None
    checksum: Checksum | None = None
    on_bytes: Callable[[int], object] = int
    _store: storage.Store = field(init=False)
    _flying: "deque[_Sent]" = field(init=False, default_factory=deque)
    _unwritten: list[Part] = field(init=False, default_factory=list)
    _spool: "_Spool" = field(init=False)
    _next_number: int = field(init=False, default=1)

    def run(self) -> None:
        """
        Read until the body ends, breaks off, or the lease is wanted; what came is safe then.

        Raises:
            errors.PayloadTooLarge: the body is longer than the file was said to be.
            ChecksumMismatch: it is not what the checksum says; nothing of it is kept.
            Fenced: the lease was lost; nothing was written since.
            storage.StorageAway, storage.StorageRefused: what storage did not take is not kept.
        """
        self._store = storage.store()
        self._next_number = self.upload.parts.count() + 1
        self._spool = _Spool(self.upload.part_size)
        try:
            self._begin_with_tail()
            self._read_all()
            self._finish()
        finally:
            self._drop_flying()
            self._spool.close()

    # Reading

    def _begin_with_tail(self) -> None:
        """Put what an earlier request left over at the beginning of the next part."""
        at, size = 0, self.upload.tail_size
        while at < size:
            piece = self._store.get_range(self.upload.tail_key, at, min(1024 * 1024, size - at))
            if not piece:
                raise storage.StorageAway("The tail is shorter than it was.")
            self._spool.write(piece)
            at += len(piece)

    def _read_all(self) -> None:
        received, left = self.upload.offset, self.length
        body = self.checksum.begin() if self.checksum else None
        hashed = _hashes.take(self.upload.pk, received)
        while not self.lease.wanted.is_set() and left != 0:
            piece = self._read(PIECE_BYTES if left is None else min(PIECE_BYTES, left))
            if not piece:
                break
            if received + len(piece) > self.limit:
                raise errors.PayloadTooLarge("More came than was announced.")
            self._take(piece)
            received += len(piece)
            left = None if left is None else left - len(piece)
            for digest in (body, hashed):
                if digest is not None:
                    digest.update(piece)
            self.lease.reported = max(self.lease.reported, received)
            self.on_bytes(received)
        is_whole = not left and not self.lease.wanted.is_set()
        if self.checksum and body and (not is_whole or body.digest() != self.checksum.digest):
            # Without the whole body nobody can tell whether what came of it is right.
            raise ChecksumMismatch
        _hashes.put(self.upload.pk, received, hashed)

    def _read(self, size: int) -> bytes:
        try:
            return self.source.read(size)
        except bodies.BROKEN:  # what came until then counts
            return b""

    def _take(self, piece: bytes) -> None:
        while piece:
            piece = self._spool.write(piece)
            if self._spool.is_full:
                self._send_part()
        # Not only when the next part is full: on a slow line that is a minute in which a crash would cost this one.
        while self._flying and self._flying[0].future.done():
            self._land()

    # Sending

    def _send_part(self) -> None:
        if len(self._flying) >= PARTS_IN_FLIGHT:
            self._land()
        storage_id = self._storage_upload_id()
        number, size, body = self._next_number, self._spool.size, self._spool.give_away()
        self._next_number += 1
        self._flying.append(_Sent(number, size, _pool.submit(self._send, storage_id, number, body)))

    def _send(self, storage_id: str, number: int, body: IO[bytes]) -> str:
        try:
            return self._store.upload_part(self.upload.key, storage_id, number, body)
        finally:
            self._spool.take_back(body)

    def _storage_upload_id(self) -> str:
        if not self.upload.storage_upload_id:
            self.upload.storage_upload_id = ensure_multipart(self._store, self.upload, self.lease.token)
        return self.upload.storage_upload_id

    def _land(self) -> None:
        """Wait for the oldest part on its way, and write it down."""
        sent = self._flying.popleft()
        part = Part(upload=self.upload, number=sent.number, size=sent.size, etag=sent.future.result())
        self._unwritten.append(part)
        # What makes the upload whole waits for the body's end: only then is its checksum known, or that more comes.
        if not self.checksum and self._landed() != self.upload.declared_size:
            self._write_down()

    def _write_down(self, *, tail_key: str = "", tail_size: int = 0) -> None:
        """Make parts count, and the tail that follows them; what is whole with them is the workers' from then on."""
        offset, old_tail = self._landed() + tail_size, self.upload.tail_key
        parts, self._unwritten = self._unwritten, []
        changes = {"offset": offset, "tail_key": tail_key, "tail_size": tail_size, **self._if_whole(offset)}
        with transaction.atomic():
            _write(self.upload, self.lease.token, changes)
            Part.objects.bulk_create(parts)
            if old_tail and old_tail != tail_key:
                purges.purge(old_tail, reason="replaced")
        for name, value in changes.items():
            setattr(self.upload, name, value)

    def _if_whole(self, offset: int) -> dict[str, Any]:
        """Tell what else changes with the last byte. A partial upload waits for the final one that consists of it."""
        if offset != self.upload.declared_size:
            return {}
        if self.upload.is_partial:
            return {"declared_size": offset}
        checksum = _hashes.whole(self.upload.pk, offset)
        return {"declared_size": offset, "status": UploadStatus.PROCESSING, "checksum": checksum}

    def _finish(self) -> None:
        """Send what is left: as the last part if it ends the file, otherwise as the tail."""
        while self._flying:
            self._land()
        left = self._spool.size
        is_last = self._landed() + left == self.upload.declared_size
        if is_last and left:
            self._send_part()
            self._land()
        if is_last or (self._unwritten and not left):
            self._write_down()
        elif left and (self._unwritten or left != self.upload.tail_size):
            self._put_tail()

    def _landed(self) -> int:
        """Count the bytes of parts that storage has, written down or not."""
        return self.upload.offset - self.upload.tail_size + sum(part.size for part in self._unwritten)

    def _put_tail(self) -> None:
        key, size = f"{self.upload.key}.tail-{self.lease.attempt}", self._spool.size
        try:
            with self._spool.give_away() as body:
                self._store.put(key, body)
            self._write_down(tail_key=key, tail_size=size)
        except (Fenced, storage.StorageAway):  # storage may have it although it did not say so
            purges.purge(key, reason="not written down")
            raise

    def _drop_flying(self) -> None:
        """Wait for what is still on its way and will not count: a part's number may be used again at once."""
        while self._flying:
            self._flying.popleft().future.exception()


def _write(upload: Upload, token: UUID, changes: Mapping[str, Any]) -> None:
    mine = Upload.objects.filter(pk=upload.pk, lease_token=token, status=UploadStatus.UPLOADING)
    if not mine.update(**changes, expires_at=clock.now() + services.idle_time()):
        raise Fenced


def ensure_multipart(store: storage.Store, upload: Upload, token: UUID | None = None) -> str:
    """
    Begin the multipart upload in storage, unless it is begun; returns its id there.

    Raises:
        Fenced: the upload has ended, or the lease ``token`` was lost.
    """
    made = store.create_multipart(upload.key, upload.declared_type or "application/octet-stream")
    mine = Upload.objects.filter(pk=upload.pk, status=upload.status, storage_upload_id="", key=upload.key)
    if token:
        mine = mine.filter(lease_token=token)
    if mine.update(storage_upload_id=made):
        return made
    purges.purge(upload.key, storage_upload_id=made, reason="fenced")
    found = Upload.objects.filter(pk=upload.pk, status=upload.status).values_list("storage_upload_id", flat=True)
    if token or not found or not found[0]:
        raise Fenced
    return found[0]


class _Spool:
    """A part as it grows, on disk. Files that were sent are written over: pages that are new to the kernel are dear."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.size = capacity, 0
        self._file: IO[bytes] | None = None
        self._sent: list[IO[bytes]] = []

    @property
    def is_full(self) -> bool:
        return self.size == self.capacity

    def write(self, piece: bytes) -> bytes:
        """Take as much as there is room for; returns the rest."""
        if self._file is None:
            self._file = self._sent.pop() if self._sent else _new_file()
        taken = piece[: self.capacity - self.size]
        self._file.write(taken)
        self.size += len(taken)
        return piece[len(taken) :]

    def give_away(self) -> IO[bytes]:
        """Give the file to whoever sends it, and begin another one; it is to be closed, or given back."""
        file, self._file, self.size = self._file, None, 0
        assert file is not None
        file.truncate()
        file.seek(0)
        return file

    def take_back(self, file: IO[bytes]) -> None:
        """Take a file that was sent; any thread may give it."""
        file.seek(0)
        self._sent.append(file)

    def close(self) -> None:
        for file in (self._file, *self._sent):
            if file is not None:
                file.close()


def _new_file() -> IO[bytes]:
    return tempfile.TemporaryFile(dir=settings.UPLOAD_SPOOL_DIR or None, buffering=0)


class _Hashes:
    """SHA-256 of what came so far of the newest uploads, as long as all of it came through this process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[UUID, tuple[int, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, upload_id: UUID, offset: int) -> Any:
        """Give what to go on with from an offset; None: something came elsewhere."""
        with self._lock:
            at, digest = self._kept.pop(upload_id, (0, hashlib.sha256()))
        return digest if at == offset else None

    def put(self, upload_id: UUID, offset: int, digest: Any) -> None:
        """Keep it for the next request, as it is at this offset."""
        if digest is not None:
            with self._lock:
                self._kept[upload_id] = offset, digest
                while len(self._kept) > _HASHES_KEPT:
                    self._kept.popitem(last=False)

    def whole(self, upload_id: UUID, size: int) -> str:
        """Give the digest of the whole file in hex, empty if it is not known, and forget it."""
        digest = self.take(upload_id, size)
        return digest.hexdigest() if digest is not None and size else ""


_hashes = _Hashes()
_pool = ThreadPoolExecutor(_SENDERS, thread_name_prefix="upload-parts")


def free_spool_bytes() -> int:
    """Tell how much room the spool's disk has."""
    return shutil.disk_usage(settings.UPLOAD_SPOOL_DIR or tempfile.gettempdir()).free
