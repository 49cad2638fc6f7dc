"""
The rules of editing a course: a pure function over its outline.

`apply_all` takes an outline and changes and gives back what each change led to, leaving the outline as it
is afterwards.
No database, no clock. Ids are canonical UUID texts throughout. An outline may be partial: `apps.courses.store` loads
what the changes need and nothing else.

Every rule checks first and changes last, so that a change which fails has altered nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from apps.core.errors import Conflict, CourseHubError, Gone, NotFound, PermissionDenied, VersionConflict
from apps.operations.errors import DependencyFailed, RolledBack
from broadcast.contracts import events

OWNER, EDITOR, VIEWER = "owner", "editor", "viewer"
EMPTY, UPLOADING = "empty", "uploading"
FROM_ELSEWHERE = "This video has its file from a library. Unlink that first."
UPLOAD = "video.upload"


@dataclass(frozen=True, slots=True)
class CourseRow:
    """A course's own fields; ``price`` as text with two decimals, or None."""

    id: str
    owner_id: str
    title: str
    description: str
    price: str | None
    currency: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ChapterRow:
    """A chapter, but for its position, which is its place in `Outline.chapter_order`."""

    id: str
    title: str
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class VideoRow:
    """A video, but for its position, which is its place in `Outline.video_order`."""

    id: str
    chapter_id: str
    title: str
    filename: str
    status: str
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(slots=True)
class Outline:
    """
    A course as far as it is loaded.

    ``members`` maps users to roles; ``unborn`` holds ids whose creation failed. The orders are there for the lists
    that changes touch; ``video_order`` by chapter.
    """

    course: CourseRow | None
    members: dict[str, str] = field(default_factory=dict)
    chapters: dict[str, ChapterRow] = field(default_factory=dict)
    videos: dict[str, VideoRow] = field(default_factory=dict)
    chapter_order: list[str] = field(default_factory=list)
    video_order: dict[str, list[str]] = field(default_factory=dict)
    unborn: set[str] = field(default_factory=set)

    def copy(self) -> "Outline":
        """Copy it so that changing one leaves the other alone. Rows are immutable and shared."""
        return Outline(
            self.course,
            dict(self.members),
            dict(self.chapters),
            dict(self.videos),
            list(self.chapter_order),
            {chapter: list(order) for chapter, order in self.video_order.items()},
            set(self.unborn),
        )


@dataclass(frozen=True, slots=True)
class Change:
    """
    One change. ``actor`` is a user's id, or empty: nobody, who may do nothing. ``payload`` has the fields of the action
    as docs/rest.md names them, tempIds replaced by ids.

    Changes next to each other with the same ``atomic_group`` (not None) succeed or fail together.
    """

    action: str
    actor: str
    payload: Mapping[str, Any]
    atomic_group: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """An event on the course's topic; ``also_to`` are users on whose own topics it is repeated."""

    type: str
    data: Mapping[str, Any]
    also_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What one change led to. ``revoked`` are users who may no longer hear the course."""

    data: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    revoked: tuple[str, ...] = ()
    error: CourseHubError | None = None


def apply_all(outline: Outline, changes: Sequence[Change], now: datetime) -> list[Result]:
    """Apply changes in order, each standing alone unless its atomic group says otherwise; one result for each."""
    results: list[Result] = []
    for group, members in groupby(changes, key=lambda change: change.atomic_group):
        if group is None:
            results.extend(_attempt(outline, change, now) for change in members)
        else:
            results.extend(_apply_atomically(outline, list(members), now))
    return results


def _attempt(outline: Outline, change: Change, now: datetime) -> Result:
    try:
        return _apply(outline, change, now)
    except CourseHubError as error:
        _mark_unborn(outline, change)
        return Result(error=error)


def _apply_atomically(outline: Outline, changes: Sequence[Change], now: datetime) -> list[Result]:
    trial = outline.copy()
    results = []
    for change in changes:
        try:
            results.append(_apply(trial, change, now))
        except CourseHubError as error:
            for other in changes:
                _mark_unborn(outline, other)
            return [Result(error=error if other is change else RolledBack()) for other in changes]
    _become(outline, trial)
    return results


def _become(outline: Outline, other: Outline) -> None:
    for name in Outline.__slots__:
        setattr(outline, name, getattr(other, name))


def _mark_unborn(outline: Outline, change: Change) -> None:
    """Remember what will never exist, so that changes which build on it can say so."""
    created = created_by(change)
    if created and not _is_there(outline, created):
        outline.unborn.add(created)


def _is_there(outline: Outline, id_: str) -> bool:
    is_course = outline.course is not None and outline.course.id == id_
    return is_course or id_ in outline.chapters or id_ in outline.videos


def _check_new(outline: Outline, id_: str) -> None:
    """Refuse to create what is there: two retries of one failed creation ask for that."""
    if _is_there(outline, id_):
        raise Conflict("This exists already.")


def _apply(outline: Outline, change: Change, now: datetime) -> Result:
    if change.action != "course.create":
        _check_course(outline, change)
        _check_role(outline, change)
    result = RULES[change.action](outline, change, now)
    # It may be another try at what could not be created before.
    outline.unborn -= {created_by(change)}
    return result


def _check_course(outline: Outline, change: Change) -> None:
    if outline.course is None:
        raise DependencyFailed if change.payload["courseId"] in outline.unborn else NotFound
    if outline.course.deleted_at and change.action not in ("course.restore", "course.delete"):
        raise Gone("This course is deleted.")


def _check_role(outline: Outline, change: Change) -> None:
    role = outline.members.get(change.actor)
    action = asked_for(change.action, change.actor, change.payload)
    if role is None and action == LEAVE:
        return  # They were removed meanwhile.
    if role is None or not may(role, action):
        raise PermissionDenied


def asked_for(action: str, actor: str, payload: Mapping[str, Any]) -> str:
    """Give the action that a role has to allow: to remove oneself is to leave."""
    return LEAVE if action == "member.remove" and payload["userId"] == actor else action


def may(role: str, action: str) -> bool:
    """Say whether a role allows an action. Members may always remove themselves, which is `LEAVE`."""
    if role == OWNER or action == LEAVE:
        return True
    return role == EDITOR and action not in OWNERS_ACTIONS


LEAVE = "member.leave"


OWNERS_ACTIONS = frozenset({"course.delete", "course.restore", "member.set", "member.remove"})


# Courses

COURSE_FIELDS = ("title", "description", "price", "currency")


def _create_course(outline: Outline, change: Change, now: datetime) -> Result:
    fields = {name: change.payload[name] for name in COURSE_FIELDS}
    id_ = change.payload["courseId"]
    if not change.actor:
        raise PermissionDenied
    _check_new(outline, id_)
    outline.course = CourseRow(id=id_, owner_id=change.actor, **fields, version=1, created_at=now, updated_at=now)
    outline.members[change.actor] = OWNER
    data = {"courseId": id_, "updates": fields, "version": 1}
    return Result({"courseId": id_, "version": 1}, (Event(events.COURSE_CREATED, data, (change.actor,)),))


def _update_course(outline: Outline, change: Change, now: datetime) -> Result:
    course = _course(outline)
    _check_version(course.version, change)
    updates = {name: change.payload[name] for name in COURSE_FIELDS if name in change.payload}
    version = course.version + _differs(course, updates)
    outline.course = replace(course, **updates, version=version, updated_at=now)
    data = {"courseId": course.id, "updates": updates, "version": version}
    return Result({"courseId": course.id, "version": version}, (Event(events.COURSE_UPDATED, data),))


def _delete_course(outline: Outline, change: Change, now: datetime) -> Result:
    course = _course(outline)
    gone = {"alreadyGone": True} if course.deleted_at else {}
    if not gone:
        _check_version(course.version, change)
        outline.course = replace(course, deleted_at=now, updated_at=now)
    return _tell_members(outline, events.COURSE_DELETED, gone)


def _restore_course(outline: Outline, change: Change, now: datetime) -> Result:  # noqa: ARG001
    outline.course = replace(_course(outline), deleted_at=None, updated_at=now)
    return _tell_members(outline, events.COURSE_RESTORED, {})


def _tell_members(outline: Outline, type_: str, data: Mapping[str, Any]) -> Result:
    ids = {"courseId": _course(outline).id}
    return Result({**ids, **data}, (Event(type_, ids, tuple(sorted(outline.members))),))


def _set_member(outline: Outline, change: Change, now: datetime) -> Result:  # noqa: ARG001
    return _member_changed(outline, change.payload["userId"], change.payload["role"])


def _remove_member(outline: Outline, change: Change, now: datetime) -> Result:  # noqa: ARG001
    return _member_changed(outline, change.payload["userId"], None)


def _member_changed(outline: Outline, user: str, role: str | None) -> Result:
    course = _course(outline)
    if user == course.owner_id:
        raise Conflict("The owner's role cannot be changed.")
    known = outline.members.pop(user, None)
    if role is not None:
        outline.members[user] = role
    data = {"courseId": course.id, "userId": user, "role": role}
    told = tuple(sorted({user, course.owner_id}))
    gone = {"alreadyGone": True} if role is None and known is None else {}
    revoked = (user,) if role is None else ()
    return Result({**data, **gone}, (Event(events.COURSE_MEMBER_UPDATED, data, told),), revoked)


# Chapters


def _create_chapter(outline: Outline, change: Change, now: datetime) -> Result:
    id_, title = change.payload["chapterId"], change.payload["title"]
    _check_new(outline, id_)
    outline.chapters[id_] = ChapterRow(id_, title, version=1, created_at=now, updated_at=now)
    outline.video_order[id_] = []
    position = _insert(outline.chapter_order, id_, change.payload.get("position"))
    data = {"chapterId": id_, **_temp_id(change), "title": title, "position": position, "version": 1}
    return Result({"chapterId": id_, "version": 1}, (Event(events.CHAPTER_CREATED, data),))


def _update_chapter(outline: Outline, change: Change, now: datetime) -> Result:
    chapter = _chapter(outline, change.payload["chapterId"])
    _check_version(chapter.version, change)
    title = change.payload.get("title", chapter.title)
    version = chapter.version + (title != chapter.title)
    outline.chapters[chapter.id] = replace(chapter, title=title, version=version, updated_at=now)
    # The title is said once, as newTitle; it would only be repeated in updates.
    data = {"chapterId": chapter.id, "newTitle": title, "updates": {}, "version": version}
    return Result({"chapterId": chapter.id, "version": version}, (Event(events.CHAPTER_UPDATED, data),))


def _delete_chapter(outline: Outline, change: Change, now: datetime) -> Result:  # noqa: ARG001
    ids = {"chapterId": change.payload["chapterId"]}
    gone = _already_gone(outline, change, outline.chapters, ids["chapterId"])
    if not gone:
        _check_version(outline.chapters[ids["chapterId"]].version, change)
        del outline.chapters[ids["chapterId"]]
        outline.chapter_order.remove(ids["chapterId"])
        for id_ in [row.id for row in outline.videos.values() if row.chapter_id == ids["chapterId"]]:
            del outline.videos[id_]
        outline.video_order.pop(ids["chapterId"], None)
    return Result({**ids, **gone}, (Event(events.CHAPTER_DELETED, ids),))


def _reorder_chapters(outline: Outline, change: Change, now: datetime) -> Result:  # noqa: ARG001
    _check_version(_course(outline).version, change)
    wanted = change.payload["chapterIds"]
    _check_same_set(outline, outline.chapter_order, wanted)
    outline.chapter_order[:] = wanted
    return Result({}, (Event(events.CHAPTERS_REORDERED, {"chapterIds": wanted}),))


# Videos


def _create_video(outline: Outline, change: Change, now: datetime) -> Result:
    chapter = _chapter(outline, change.payload["chapterId"])
    id_, title, filename = (change.payload[name] for name in ("videoId", "title", "filename"))
    _check_new(outline, id_)
    status = UPLOADING if change.action == UPLOAD else EMPTY
    outline.videos[id_] = VideoRow(id_, chapter.id, title, filename, status, version=1, created_at=now, updated_at=now)
    position = _insert(outline.video_order[chapter.id], id_, change.payload.get("position"))
    told = {"chapterId": chapter.id, "title": title, "filename": filename, "position": position, "version": 1}
    data = {"videoId": id_, **_temp_id(change), **_upload_id(change), **told}
    return Result({"videoId": id_, "version": 1}, (Event(events.VIDEO_CREATED, data),))


def _upload_video(outline: Outline, change: Change, now: datetime) -> Result:
    """Begin an upload: into a new video, or (also when a failed upload is tried again) one that is there."""
    if change.payload.get("uploadEnded"):
        raise Gone("The upload has ended before it could begin.")
    if change.payload.get("hasFileFromElsewhere"):
        raise Conflict(FROM_ELSEWHERE)
    if change.payload["videoId"] not in outline.videos and change.payload["creates"]:
        return _create_video(outline, change, now)
    video = _video(outline, change.payload["videoId"])
    outline.videos[video.id] = replace(video, status=UPLOADING, updated_at=now)
    told = {"newTitle": video.title, "updates": {"status": UPLOADING}, "version": video.version}
    data = {"videoId": video.id, **_upload_id(change), **told}
    return Result({"videoId": video.id, "version": video.version}, (Event(events.VIDEO_UPDATED, data),))


def _update_video(outline: Outline, change: Change, now: datetime) -> Result:
    video = _video(outline, change.payload["videoId"])
    _check_version(video.version, change)
    given = {name: change.payload[name] for name in ("title", "filename") if name in change.payload}
    version = video.version + _differs(video, given)
    changed = replace(video, **given, version=version, updated_at=now)
    outline.videos[video.id] = changed
    updates = {name: value for name, value in given.items() if name != "title"}
    data = {"videoId": video.id, "newTitle": changed.title, "updates": updates, "version": version}
    return Result({"videoId": video.id, "version": version}, (Event(events.VIDEO_UPDATED, data),))


def _delete_video(outline: Outline, change: Change, now: datetime) -> Result:  # noqa: ARG001
    id_ = change.payload["videoId"]
    gone = _already_gone(outline, change, outline.videos, id_)
    if gone:
        ids = {"videoId": id_, "chapterId": change.payload.get("knownIn")}
        return Result({**ids, **gone}, (Event(events.VIDEO_DELETED, ids),))
    video = outline.videos[id_]
    _check_version(video.version, change)
    outline.video_order[video.chapter_id].remove(id_)
    del outline.videos[id_]
    ids = {"videoId": id_, "chapterId": video.chapter_id}
    return Result(ids, (Event(events.VIDEO_DELETED, ids),))


def _move_video(outline: Outline, change: Change, now: datetime) -> Result:
    video = _video(outline, change.payload["videoId"])
    target = _chapter(outline, change.payload["chapterId"])
    _check_version(video.version, change)
    source_order, target_order = outline.video_order[video.chapter_id], outline.video_order[target.id]
    before = source_order.index(video.id)
    source_order.remove(video.id)
    position = _insert(target_order, video.id, change.payload.get("position"))
    stays = video.chapter_id == target.id and position == before
    version = video.version + (not stays)
    outline.videos[video.id] = replace(video, chapter_id=target.id, version=version, updated_at=now)
    places = {"fromChapterId": video.chapter_id, "toChapterId": target.id, "position": position}
    data = {"videoId": video.id, **places, "version": version}
    return Result({"videoId": video.id, "version": version}, (Event(events.VIDEO_MOVED, data),))


def _reorder_videos(outline: Outline, change: Change, now: datetime) -> Result:  # noqa: ARG001
    chapter = _chapter(outline, change.payload["chapterId"])
    _check_version(chapter.version, change)
    wanted = change.payload["videoIds"]
    _check_same_set(outline, outline.video_order[chapter.id], wanted)
    outline.video_order[chapter.id][:] = wanted
    data = {"chapterId": chapter.id, "videoIds": wanted}
    return Result({"chapterId": chapter.id}, (Event(events.VIDEOS_REORDERED, data),))


# What the rules share


def _course(outline: Outline) -> CourseRow:
    if outline.course is None:
        raise NotFound
    return outline.course


def _chapter(outline: Outline, id_: str) -> ChapterRow:
    if id_ not in outline.chapters:
        raise _absent(outline, id_, "There is no such chapter in this course.")
    return outline.chapters[id_]


def _video(outline: Outline, id_: str) -> VideoRow:
    if id_ not in outline.videos:
        raise _absent(outline, id_, "There is no such video in this course.")
    return outline.videos[id_]


def _absent(outline: Outline, id_: str, message: str) -> CourseHubError:
    return DependencyFailed() if id_ in outline.unborn else NotFound(message)


def _already_gone(outline: Outline, change: Change, rows: Mapping[str, object], id_: str) -> dict[str, bool]:
    """Deleting what was there when it was asked for, and is not any more, is done; other absent ids are errors."""
    if id_ in rows:
        return {}
    if id_ in outline.unborn or not change.payload.get("known"):
        raise _absent(outline, id_, "There is no such thing in this course.")
    return {"alreadyGone": True}


def _check_version(current: int, change: Change) -> None:
    base = change.payload.get("baseVersion")
    if base is not None and base != current:
        raise VersionConflict(current)


def _check_same_set(outline: Outline, present: Sequence[str], wanted: Sequence[str]) -> None:
    if len(wanted) == len(present) and set(wanted) == set(present):
        return
    if outline.unborn & set(wanted):
        raise DependencyFailed
    raise Conflict("The list must name each present item exactly once.")


def _differs(row: object, updates: Mapping[str, Any]) -> bool:
    return any(getattr(row, name) != value for name, value in updates.items())


def _insert(order: list[str], id_: str, position: int | None) -> int:
    """Insert at a position, or at the end; returns where it ended up."""
    place = len(order) if position is None else min(position, len(order))
    order.insert(place, id_)
    return place


def _temp_id(change: Change) -> dict[str, str]:
    temp_id = change.payload.get("tempId")
    return {"tempId": temp_id} if temp_id else {}


def _upload_id(change: Change) -> dict[str, str]:
    upload_id = change.payload.get("uploadId")
    return {"uploadId": upload_id} if upload_id else {}


def created_by(change: Change) -> str | None:
    """Tell which id a change would bring into being, if any."""
    field = CREATES.get(change.action)
    if field is None or (change.action == UPLOAD and not change.payload["creates"]):
        return None
    id_: str = change.payload[field]
    return id_


Rule = Callable[[Outline, Change, datetime], Result]

RULES: dict[str, Rule] = {
    "course.create": _create_course,
    "course.update": _update_course,
    "course.delete": _delete_course,
    "course.restore": _restore_course,
    "member.set": _set_member,
    "member.remove": _remove_member,
    "chapter.create": _create_chapter,
    "chapter.update": _update_chapter,
    "chapter.delete": _delete_chapter,
    "chapter.reorder": _reorder_chapters,
    "video.create": _create_video,
    UPLOAD: _upload_video,
    "video.update": _update_video,
    "video.delete": _delete_video,
    "video.move": _move_video,
    "video.reorder": _reorder_videos,
}
CREATES = {"course.create": "courseId", "chapter.create": "chapterId", "video.create": "videoId", UPLOAD: "videoId"}
"""Which field of a creating action's payload holds the new id."""
