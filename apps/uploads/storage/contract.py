"""What uploads need of object storage, and what it tells them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as storage knows it. ``content_type`` is known of `head` only."""

    key: str
    size: int
    etag: str
    modified_at: datetime
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class PartInfo:
    """A part of a multipart upload; numbers begin at 1."""

    number: int
    etag: str
    size: int


@dataclass(frozen=True, slots=True)
class OpenMultipart:
    """A multipart upload that is neither completed nor aborted."""

    key: str
    upload_id: str
    initiated_at: datetime


class Store(Protocol):
    """
    What uploads need of object storage.

    Every verb raises `StorageAway` when it is worth asking again later, and `StorageRefused` when it is not.
    """

    def create_multipart(self, key: str, content_type: str) -> str:
        """Begin a multipart upload; gives its id."""

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes | IO[bytes], *, md5: bytes = b"") -> str:
        """
        Store a part, replacing one of the same number; gives its ETag.

        ``body``: bytes, or a file that can be rewound, since it is sent again when the connection breaks.
        ``md5``: its digest, to be compared by storage.
        """

    def copy_part(self, key: str, upload_id: str, number: int, source_key: str, start: int, length: int) -> str:
        """
        Have storage make a part of a range of another object, without the bytes coming here; gives its ETag.

        Raises:
            ObjectMissing: there is no such object.
        """

    def list_parts(self, key: str, upload_id: str) -> list[PartInfo]:
        """Say which parts have arrived, by number."""

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[tuple[int, str]]) -> None:
        """
        Make the object of its parts, (number, ETag) in order. Safe to call again after a lost answer.

        Raises:
            UploadMissing: there is no such upload, nor an object under the key.
        """

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Drop a multipart upload and its parts; one that is gone is fine."""

    def put(self, key: str, body: bytes | IO[bytes], *, content_type: str = "application/octet-stream") -> str:
        """Store a small object; gives its ETag."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read part of an object; less than ``length`` where it ends, nothing beyond."""

    def head(self, key: str) -> ObjectInfo:
        """
        Look at an object without reading it.

        Raises:
            ObjectMissing: there is none.
        """

    def delete(self, key: str) -> None:
        """Delete an object with all its versions; one that is gone is fine."""

    def list_objects(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Go through the objects whose keys begin so, by key, those after ``after``; page by page."""

    def list_multiparts(self, prefix: str) -> Iterator[OpenMultipart]:
        """Go through the open multipart uploads whose keys begin so; page by page."""

    def presign_get(self, key: str, seconds: int, *, content_type: str, disposition: str) -> str:
        """Make a URL for reading an object, answered with this Content-Type and Content-Disposition."""

    def presign_part(self, key: str, upload_id: str, number: int, seconds: int) -> str:
        """Make a URL to which a client may PUT a part."""
