"""
Applying a topic's events to an outline, as a client would: the outline at N plus the events after N.

Knows the outline as ``GET courses/<id>/outline/`` gives it and the events as ``docs/events.md`` describes them, and
nothing of what is behind them.
"""

import copy
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


class Gap(AssertionError):
    """An event does not follow the one before it."""


class Refetch(Exception):
    """An event says that it does not say enough: the client has to read the outline again."""


def replay(outline: Json, events: Iterable[Json], *, reader: str | None = None) -> Json:
    """
    Give the outline as it is after the events of its course, leaving the given one as it was.

    Events that the outline already contains are skipped, so that what arrives twice counts once. ``reader`` is the user
    whose outline it is: a change of their own role shows in it.

    Raises:
        Gap: a seq is missing.
        Refetch: an event was withheld, or left out what was too long for it.
    """
    after = copy.deepcopy(outline)
    for event in events:
        if event["seq"] > after["seq"]:
            advance(after, event, reader=reader)
    return after


def advance(outline: Json, event: Json, *, reader: str | None = None) -> None:
    """Change an outline by the event that comes next; the rest as for `replay`."""
    if event["seq"] != outline["seq"] + 1:
        raise Gap(f"{event['type']} has seq {event['seq']} after {outline['seq']}")
    if f"course:{event['courseId']}" != outline["topic"]:
        raise AssertionError(f"{event} is not about {outline['topic']}")
    if event["type"] == "event-withheld":
        raise Refetch(event)
    rule = _RULES.get(event["type"])
    if rule and event["data"].get("truncated"):
        raise Refetch(event)
    if rule:
        rule(outline, event["data"], _rfc3339(event["timestamp"]))
    elif event["type"] == "course-member-update-complete":
        _member(outline, event["data"], reader)
    elif event["type"] not in _TELL_NOTHING_OF_THE_OUTLINE:
        raise AssertionError(f"unknown event {event}")
    outline["seq"] = event["seq"]


def _member(outline: Json, data: Json, reader: str | None) -> None:
    if data["userId"] == reader and data["role"]:
        outline["course"]["role"] = data["role"]


def _course_updated(outline: Json, data: Json, at: str) -> None:
    outline["course"] |= {**data["updates"], "version": data["version"], "updatedAt": at}


def _course_deleted(outline: Json, data: Json, at: str) -> None:
    if outline["course"]["deletedAt"] is None:
        outline["course"] |= {"deletedAt": at, "updatedAt": at}


def _course_restored(outline: Json, data: Json, at: str) -> None:
    outline["course"] |= {"deletedAt": None, "updatedAt": at}


def _chapter_created(outline: Json, data: Json, at: str) -> None:
    chapter = {
        "id": data["chapterId"],
        "courseId": outline["course"]["id"],
        "title": data["title"],
        "version": data["version"],
        "createdAt": at,
        "updatedAt": at,
        "videos": [],
    }
    _insert(outline["chapters"], chapter, data["position"])


def _chapter_updated(outline: Json, data: Json, at: str) -> None:
    chapter = _find(outline["chapters"], data["chapterId"])
    chapter |= {**data["updates"], "title": data["newTitle"], "version": data["version"], "updatedAt": at}


def _chapter_deleted(outline: Json, data: Json, at: str) -> None:
    # A second deletion of what is gone has its event too.
    if any(chapter["id"] == data["chapterId"] for chapter in outline["chapters"]):
        _remove(outline["chapters"], data["chapterId"])


def _chapters_reordered(outline: Json, data: Json, at: str) -> None:
    _reorder(outline["chapters"], data["chapterIds"])


def _video_created(outline: Json, data: Json, at: str) -> None:
    video = {
        "id": data["videoId"],
        "courseId": outline["course"]["id"],
        "chapterId": data["chapterId"],
        "title": data["title"],
        "filename": data["filename"],
        "status": "uploading" if "uploadId" in data else "empty",
        "file": None,
        "version": data["version"],
        "createdAt": at,
        "updatedAt": at,
    }
    _insert(_find(outline["chapters"], data["chapterId"])["videos"], video, data["position"])


def _video_updated(outline: Json, data: Json, at: str) -> None:
    video = _find(_home(outline, data["videoId"])["videos"], data["videoId"])
    video |= {**data["updates"], "title": data["newTitle"], "version": data["version"], "updatedAt": at}
    if data["updates"].get("file"):
        video["file"] = _file(data["updates"]["file"])


def _upload_completed(outline: Json, data: Json, at: str) -> None:
    final = data["finalData"]
    video = _find(_home(outline, data["videoId"])["videos"], data["videoId"])
    video |= {"status": data["status"], "file": _file(final), "filename": final["filename"], "updatedAt": at}


def _file(final: Json) -> Json:
    return {**final, "createdAt": _rfc3339(final["createdAt"])}


def _failed(outline: Json, data: Json, at: str) -> None:
    # Of all failures only an upload's, once it has begun, leaves something behind: the status of its video.
    if "status" in data and "videoId" in data:
        video = _find(_home(outline, data["videoId"])["videos"], data["videoId"])
        video |= {"status": data["status"], "updatedAt": at}


def _video_deleted(outline: Json, data: Json, at: str) -> None:
    chapters = [chapter for chapter in outline["chapters"] if chapter["id"] == data["chapterId"]]
    if chapters and any(video["id"] == data["videoId"] for video in chapters[0]["videos"]):
        _remove(chapters[0]["videos"], data["videoId"])


def _video_moved(outline: Json, data: Json, at: str) -> None:
    video = _remove(_find(outline["chapters"], data["fromChapterId"])["videos"], data["videoId"])
    video |= {"chapterId": data["toChapterId"], "version": data["version"], "updatedAt": at}
    _insert(_find(outline["chapters"], data["toChapterId"])["videos"], video, data["position"])


def _videos_reordered(outline: Json, data: Json, at: str) -> None:
    _reorder(_find(outline["chapters"], data["chapterId"])["videos"], data["videoIds"])


_RULES: dict[str, Callable[[Json, Json, str], None]] = {
    "course-create-complete": _course_updated,
    "course-update-complete": _course_updated,
    "course-delete-complete": _course_deleted,
    "course-restore-complete": _course_restored,
    "chapter-create-complete": _chapter_created,
    "chapter-update-complete": _chapter_updated,
    "chapter-delete-complete": _chapter_deleted,
    "chapter-reorder-complete": _chapters_reordered,
    "video-create-complete": _video_created,
    "video-update-complete": _video_updated,
    "video-delete-complete": _video_deleted,
    "video-move-complete": _video_moved,
    "video-reorder-complete": _videos_reordered,
    "upload-complete": _upload_completed,
    "operation-failed": _failed,
}
_TELL_NOTHING_OF_THE_OUTLINE = {"batch-operation-complete", "media-link-complete", "media-unlink-complete"}


def _find(items: list[Json], id_: str) -> Json:
    return next(item for item in items if item["id"] == id_)


def _home(outline: Json, video_id: str) -> Json:
    """The chapter that a video is in."""
    return next(chapter for chapter in outline["chapters"] if any(v["id"] == video_id for v in chapter["videos"]))


def _insert(items: list[Json], item: Json, position: int) -> None:
    assert 0 <= position <= len(items), (position, len(items))
    items.insert(position, item)
    _number(items)


def _remove(items: list[Json], id_: str) -> Json:
    item = _find(items, id_)
    items.remove(item)
    _number(items)
    return item


def _reorder(items: list[Json], ids: list[str]) -> None:
    assert sorted(ids) == sorted(item["id"] for item in items), ids
    items.sort(key=lambda item: ids.index(item["id"]))
    _number(items)


def _number(items: list[Json]) -> None:
    for position, item in enumerate(items):
        item["position"] = position


def _rfc3339(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
