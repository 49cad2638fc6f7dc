"""
A client's own copy of a course, kept up to date by events alone.

This is what a front end does: read the outline once, then apply each event. If the events say enough, the copy equals
the server's outline at any later time, field by field.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from demo.client import Json


class OutOfStep(Exception):
    """An event does not fit the copy: one before it is missing, or is not what it should have been."""


class Replica:
    """An outline as ``GET courses/<id>/outline/`` gives it, and the events since."""

    def __init__(self, outline: Json) -> None:
        self.outline = outline

    @property
    def seq(self) -> int:
        """The last event that the copy contains."""
        return int(self.outline["seq"])

    @property
    def chapters(self) -> list[Json]:
        """The chapters in order, each with its videos in order."""
        chapters: list[Json] = self.outline["chapters"]
        return chapters

    def chapter(self, id_: str) -> Json:
        """Find a chapter."""
        return _find(self.chapters, id_)

    def home_of(self, video_id: str) -> Json:
        """Find the chapter that a video is in."""
        for chapter in self.chapters:
            if any(video["id"] == video_id for video in chapter["videos"]):
                return chapter
        raise OutOfStep(f"The copy has no video {video_id}.")

    def apply(self, event: Json) -> None:
        """
        Apply the next event.

        Raises:
            OutOfStep: it is not the next one, or what it changes is not there.
        """
        if event["seq"] != self.seq + 1:
            raise OutOfStep(f"Event {event['seq']} of {self.outline['topic']} came after {self.seq}.")
        rule = _RULES.get(event["type"])
        if rule:
            rule(self, event["data"], _rfc3339(event["timestamp"]))
        self.outline["seq"] = event["seq"]

    def differences(self, fresh: Json) -> Iterator[str]:
        """Compare with an outline that was just read; yields each difference as a sentence."""
        return _differences(self.outline, fresh, "outline")

    # One rule for each type of event. Those without one (a batch's end, a failure) change nothing.

    def _course_updated(self, data: Json, at: str) -> None:
        self.outline["course"] |= {**data["updates"], "version": data["version"], "updatedAt": at}

    def _course_deleted(self, _data: Json, at: str) -> None:
        self.outline["course"] |= {"deletedAt": at, "updatedAt": at}

    def _course_restored(self, _data: Json, at: str) -> None:
        # Whoever dropped the course when it was deleted refetches it now; this copy was kept, and still holds.
        self.outline["course"] |= {"deletedAt": None, "updatedAt": at}

    def _chapter_created(self, data: Json, at: str) -> None:
        chapter = self._row(data, "chapterId", at) | {"videos": []}
        _insert(self.chapters, chapter, data["position"])

    def _chapter_updated(self, data: Json, at: str) -> None:
        self.chapter(data["chapterId"]).update(title=data["newTitle"], version=data["version"], updatedAt=at)

    def _chapter_deleted(self, data: Json, _at: str) -> None:
        _remove(self.chapters, data["chapterId"])

    def _chapters_reordered(self, data: Json, _at: str) -> None:
        _reorder(self.chapters, data["chapterIds"])

    def _video_created(self, data: Json, at: str) -> None:
        status = "uploading" if "uploadId" in data else "empty"
        more = {"chapterId": data["chapterId"], "filename": data["filename"], "status": status, "file": None}
        _insert(self.chapter(data["chapterId"])["videos"], self._row(data, "videoId", at) | more, data["position"])

    def _video_updated(self, data: Json, at: str) -> None:
        video = _find(self.home_of(data["videoId"])["videos"], data["videoId"])
        updates = data["updates"]
        if updates.get("file"):
            updates = {**updates, "file": _file(updates["file"])}
        video |= {**updates, "title": data["newTitle"], "version": data["version"], "updatedAt": at}

    def _upload_completed(self, data: Json, at: str) -> None:
        final = data["finalData"]
        video = _find(self.home_of(data["videoId"])["videos"], data["videoId"])
        video |= {"status": data["status"], "file": _file(final), "filename": final["filename"], "updatedAt": at}

    def _video_deleted(self, data: Json, _at: str) -> None:
        _remove(self.chapter(data["chapterId"])["videos"], data["videoId"])

    def _video_moved(self, data: Json, at: str) -> None:
        video = _remove(self.chapter(data["fromChapterId"])["videos"], data["videoId"])
        video |= {"chapterId": data["toChapterId"], "version": data["version"], "updatedAt": at}
        _insert(self.chapter(data["toChapterId"])["videos"], video, data["position"])

    def _videos_reordered(self, data: Json, _at: str) -> None:
        _reorder(self.chapter(data["chapterId"])["videos"], data["videoIds"])

    def _row(self, data: Json, id_: str, at: str) -> Json:
        said = {"id": data[id_], "title": data["title"], "version": data["version"]}
        return {**said, "courseId": self.outline["course"]["id"], "createdAt": at, "updatedAt": at}


_RULES: dict[str, Callable[[Replica, Json, str], None]] = {
    "course-update-complete": Replica._course_updated,
    "course-delete-complete": Replica._course_deleted,
    "course-restore-complete": Replica._course_restored,
    "chapter-create-complete": Replica._chapter_created,
    "chapter-update-complete": Replica._chapter_updated,
    "chapter-delete-complete": Replica._chapter_deleted,
    "chapter-reorder-complete": Replica._chapters_reordered,
    "video-create-complete": Replica._video_created,
    "video-update-complete": Replica._video_updated,
    "video-delete-complete": Replica._video_deleted,
    "video-move-complete": Replica._video_moved,
    "video-reorder-complete": Replica._videos_reordered,
    "upload-complete": Replica._upload_completed,
}


def _rfc3339(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _file(final_data: Json) -> Json:
    return {**final_data, "createdAt": _rfc3339(final_data["createdAt"])}


def _find(items: Sequence[Json], id_: str) -> Json:
    for item in items:
        if item["id"] == id_:
            return item
    raise OutOfStep(f"The copy has no {id_}.")


def _insert(items: list[Json], item: Json, position: int) -> None:
    if not 0 <= position <= len(items):
        raise OutOfStep(f"There is no position {position} among {len(items)}.")
    items.insert(position, item)
    _number(items)


def _remove(items: list[Json], id_: str) -> Json:
    item = _find(items, id_)
    items.remove(item)
    _number(items)
    return item


def _reorder(items: list[Json], ids: Sequence[str]) -> None:
    known = {item["id"]: item for item in items}
    if sorted(ids) != sorted(known):
        raise OutOfStep("A new order does not name what is there.")
    items[:] = [known[id_] for id_ in ids]
    _number(items)


def _number(items: Sequence[Json]) -> None:
    for position, item in enumerate(items):
        item["position"] = position


def _differences(ours: Any, fresh: Any, path: str) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(fresh, dict):
        for key in chain(fresh, (key for key in ours if key not in fresh)):
            yield from _differences(ours.get(key), fresh.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(fresh, list) and len(ours) == len(fresh):
        for index, pair in enumerate(zip(ours, fresh, strict=True)):
            yield from _differences(*pair, f"{path}.{index}")
    elif ours != fresh:
        yield f"{path} is {ours!r} by the events, and {fresh!r} when read afresh"
