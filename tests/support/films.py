"""Films on their way through a running CourseHub, and what must be true of every one of them in the end."""

import hashlib
import http.client
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from demo import tus
from demo.client import Answer, Api, Json
from tests.support import media
from tests.support.faulty_storage import FaultyStorage
from tests.support.stack import Course, Site, all_events, eventually

MIB = 1024 * 1024
PART = 8 * MIB
"""Parts are so large, unless the file is huge."""


def film(size_mib: int = 0) -> bytes:
    """Make a film of two seconds, stuffed to about this size."""
    made = media.video()
    return media.with_stuffing(made, size_mib * MIB) if size_mib else made


@dataclass(slots=True)
class Sent:
    """A film that someone sends to a course's first chapter, as an operation of its own."""

    user: Api
    course: Course
    data: bytes
    upload: tus.Upload

    @classmethod
    def by(cls, user: Api, course: Course, data: bytes, **more: Any) -> "Sent":
        """Open the upload; ``more`` is metadata."""
        target = {"kind": "video", "chapterId": course.chapters[0]}
        return cls(user, course, data, tus.create(user, len(data), target, **more))

    def again(self) -> "Sent":
        """The same upload over a connection of its own, for another thread."""
        api = self.user.again()
        return Sent(api, self.course, self.data, replace(self.upload, api=api))

    def go_on(self, seconds: float = 60) -> None:
        """Ask where to go on, and go on, until everything is there: what clients do, whatever happens."""
        deadline = time.monotonic() + seconds
        while (offset := self._offset()) is None or offset < len(self.data):
            if offset is not None:
                with suppress(OSError, http.client.HTTPException):
                    answer = self.upload.patch(offset, self.data[offset:])
                    assert answer.status in (204, 409, 423, 503), answer
            assert time.monotonic() < deadline, f"still at {offset}"
            time.sleep(0.05)  # a client's own pause

    def _offset(self) -> int | None:
        with suppress(OSError, http.client.HTTPException):
            answer = self.upload.head()
            assert answer.status in (200, 503), answer
            return int(answer.headers["Upload-Offset"]) if answer.status == 200 else None
        return None

    def ends(self, seconds: float = 60) -> Json:
        """Wait for the operation's end, without the bell that rings through Redis."""
        path = f"operations/{self.upload.operation_id}/"

        def ended() -> Json | None:
            answer = _asked(lambda: self.user.get(path))
            return answer.data if answer and answer.status == 200 and answer.data["finishedAt"] else None

        found: Json = eventually(ended, seconds)
        return found

    def arrives_once(self, seconds: float = 60) -> Json:
        """Wait until it is there, and insist that it came whole and was told of once; returns ``upload-complete``."""
        operation = self.ends(seconds)
        assert operation["status"] == "succeeded", operation
        assert self.stored() == self.data
        (told,) = self.told("upload-complete")
        final = told["data"]["finalData"]
        assert (final["size"], final["contentType"]) == (len(self.data), "video/mp4")
        assert final["checksum"] in (hashlib.sha256(self.data).hexdigest(), None)
        assert not self.told("operation-failed")
        return told

    def told(self, type_: str) -> list[Json]:
        """Events of a type about this upload."""
        events = all_events(self.user, self.course.topic)
        mine = [event for event in events if event.get("operationId") == self.upload.operation_id]
        return [event for event in mine if event["type"] == type_]

    def stored(self) -> bytes:
        """Fetch the video as a player does."""
        url = self.user.get(f"videos/{self.upload.target_id}/playback/").data["url"]
        with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310
            data: bytes = response.read()
        return data


def _asked(ask: Callable[[], Answer]) -> Answer | None:
    try:
        return ask()
    except (OSError, http.client.HTTPException):
        return None


def nothing_is_orphaned(site: Site, storage: FaultyStorage, seconds: float = 60) -> None:
    """Insist that bucket and database agree, once all that is to be purged is gone, and that no step hangs open."""
    try:
        eventually(lambda: not leftovers(site, storage), seconds)
    except TimeoutError:
        raise AssertionError(leftovers(site, storage)) from None


def leftovers(site: Site, storage: FaultyStorage) -> Json:
    """Name everything that nobody will ever end, delete, or find again."""
    s3, bucket = storage.client(), storage.bucket
    objects = {found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}
    multiparts = {found["UploadId"] for found in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])}

    def column(sql: str) -> set[str]:
        return {str(row[0]) for row in site.ask_database(sql)}

    files = column("SELECT key FROM uploads_storedfile")
    # What somebody may still have a URL of.
    kept = column("SELECT key FROM uploads_purge WHERE due_at > now()")
    found = {
        "objects without rows": objects - files - kept - column(f"SELECT tail_key {_OPEN}"),
        "rows without objects": files - objects,
        "files without owners": column(_OWNERLESS),
        "multipart uploads": multiparts - column(f"SELECT storage_upload_id {_OPEN} OR status = 'error'"),
        "open steps": column("SELECT id FROM operations_step WHERE status = 'running'")
        - column(f"SELECT step_id {_OPEN}"),
        "purges": column("SELECT key FROM uploads_purge WHERE due_at <= now()"),
    }
    return {name: what for name, what in found.items() if what}


_OPEN = "FROM uploads_upload WHERE status IN ('uploading', 'processing')"
_OWNERLESS = """
    SELECT key FROM uploads_storedfile file
    WHERE NOT EXISTS (SELECT FROM courses_video WHERE file_id = file.id)
      AND NOT EXISTS (SELECT FROM media_mediaversion WHERE file_id = file.id)
"""
