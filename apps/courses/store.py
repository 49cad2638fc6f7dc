"""
Between the outline and the database: load the part that changes touch, write the difference in bulk.

A title on a course of 5,000 videos loads one chapter or video; only a change to a list loads that list's ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from apps.core import sql
from apps.courses.models import Chapter, Course, Membership, Role
from apps.courses.outline import UPLOAD, Change, ChapterRow, CourseRow, Outline, VideoRow, created_by
from apps.operations import selectors as operations
from apps.uploads import purges
from apps.uploads.models import StoredFile

_CHAPTER_LIST_ACTIONS = frozenset({"chapter.create", "chapter.delete", "chapter.reorder"})
_VIDEO_LIST_ACTIONS = frozenset({"video.create", "video.delete", "video.move", "video.reorder", UPLOAD})
_MEMBERS_ACTIONS = frozenset({"course.delete", "course.restore"})


@dataclass(slots=True)
class Needs:
    """
    What a list of changes needs to have loaded.

    ``named`` are the ids of courses, and those that new orders name; ``created`` those that are created before any
    change names them.
    """

    chapters: set[str] = field(default_factory=set)
    videos: set[str] = field(default_factory=set)
    listed_chapters: set[str] = field(default_factory=set)
    listed_videos: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    created: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    chapter_order: bool = False
    all_members: bool = False


def needs_of(changes: Iterable[Change]) -> Needs:
    """Work out what changes refer to."""
    needs = Needs()
    for change in changes:
        payload = change.payload
        created = created_by(change)
        if created and not any(created in ids for ids in (needs.named, needs.chapters, needs.videos)):
            needs.created.add(created)
        needs.users.update(filter(None, (change.actor, payload.get("userId"))))
        needs.named.update([payload["courseId"]], payload.get("chapterIds", ()), payload.get("videoIds", ()))
        needs.chapter_order |= change.action in _CHAPTER_LIST_ACTIONS
        needs.all_members |= change.action in _MEMBERS_ACTIONS
        if "chapterId" in payload:
            needs.chapters.add(payload["chapterId"])
        if "videoId" in payload:
            needs.videos.add(payload["videoId"])
        if change.action in _VIDEO_LIST_ACTIONS:
            needs.listed_chapters.update({payload["chapterId"]} if "chapterId" in payload else ())
            needs.listed_videos.update({payload["videoId"]} if "videoId" in payload else ())
    return needs


def load(course_id: UUID, needs: Needs) -> Outline:
    """Lock a course and load what is needed of it."""
    outline = _load_course(course_id, needs)
    if outline.course:
        outline.videos = _load_videos(course_id, needs.videos)
        outline.chapters = _load_chapters(course_id, needs.chapters)
        listed = needs.listed_chapters | {
            outline.videos[id_].chapter_id for id_ in needs.listed_videos if id_ in outline.videos
        }
        outline.video_order = _load_video_orders(course_id, listed - (needs.created - outline.chapters.keys()))
        if needs.chapter_order:
            outline.chapter_order = _load_chapter_order(course_id)
    outline.unborn = _unborn(outline, needs)
    return outline


def _load_course(course_id: UUID, needs: Needs) -> Outline:
    wanted = None if needs.all_members else _ids(needs.users)
    found = sql.rows(_LOAD_COURSE, [wanted, wanted, course_id])
    if not found:
        return Outline(None)
    members, owner_id, title, description, price, *rest = found[0]
    shown = None if price is None else f"{price:.2f}"
    course = CourseRow(str(course_id), str(owner_id), title, description, shown, *rest)
    return Outline(course, dict(members))


def _load_chapters(course_id: UUID, wanted: set[str]) -> dict[str, ChapterRow]:
    found = sql.rows(_LOAD_CHAPTERS, [course_id, _ids(wanted)]) if wanted else []
    return {str(row[0]): ChapterRow(str(row[0]), *row[1:]) for row in found}


def _load_videos(course_id: UUID, wanted: set[str]) -> dict[str, VideoRow]:
    found = sql.rows(_LOAD_VIDEOS, [course_id, _ids(wanted)]) if wanted else []
    return {str(row[0]): VideoRow(str(row[0]), str(row[1]), *row[2:]) for row in found}


def _load_chapter_order(course_id: UUID) -> list[str]:
    return [
        str(id_) for id_ in Chapter.objects.filter(course=course_id).order_by("position").values_list("id", flat=True)
    ]


def _load_video_orders(course_id: UUID, chapters: set[str]) -> dict[str, list[str]]:
    orders: dict[str, list[str]] = {chapter: [] for chapter in chapters}
    for chapter, id_ in sql.rows(_LOAD_VIDEO_ORDERS, [course_id, _ids(chapters)]) if chapters else ():
        orders[str(chapter)].append(str(id_))
    return orders


def _unborn(outline: Outline, needs: Needs) -> set[str]:
    """Find out which of the ids that are not there could not be created."""
    named = needs.chapters | needs.videos | needs.named
    absent = named - needs.created - outline.chapters.keys() - outline.videos.keys()
    absent -= {id_ for order in (outline.chapter_order, *outline.video_order.values()) for id_ in order}
    if outline.course:
        absent -= {outline.course.id}
    return {str(id_) for id_ in operations.failed_creations(_ids(absent))} if absent else set()


def save(before: Outline, after: Outline) -> None:
    """Write the difference between two states of one outline, but for what is to be deleted (`delete`)."""
    if after.course is None:
        return
    course_id = after.course.id
    _save_course(before.course, after.course)
    _save_members(course_id, before.members, after.members)
    _save_chapters(course_id, before, after)
    _save_videos(course_id, before, after)


def _save_course(before: CourseRow | None, after: CourseRow) -> None:
    if before is after:
        return
    values = {
        "title": after.title,
        "description": after.description,
        "price": None if after.price is None else Decimal(after.price),
        "currency": after.currency,
        "version": after.version,
        "updated_at": after.updated_at,
        "deleted_at": after.deleted_at,
    }
    if before is None:
        Course.objects.create(id=UUID(after.id), owner_id=UUID(after.owner_id), created_at=after.created_at, **values)
    else:
        Course.objects.filter(pk=after.id).update(**values)


def _save_members(course_id: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    removed = before.keys() - after.keys()
    if removed:
        Membership.objects.filter(course=UUID(course_id), user__in=_ids(removed)).exclude(role=Role.OWNER).delete()
    changed = [(user, role) for user, role in after.items() if before.get(user) != role]
    if changed:
        Membership.objects.bulk_create(
            [Membership(course_id=UUID(course_id), user_id=UUID(user), role=role) for user, role in changed],
            update_conflicts=True,
            unique_fields=["course", "user"],
            update_fields=["role"],
        )


def _save_chapters(course_id: str, before: Outline, after: Outline) -> None:
    moved = _new_positions({"": before.chapter_order}, {"": after.chapter_order})
    created, changed = _split(before.chapters, after.chapters)
    if created:
        columns = sql.columns([(row.id, row.title, moved.pop(row.id), row.version, row.created_at) for row in created])
        sql.execute(_INSERT_CHAPTERS, [course_id, *columns])
    if changed:
        sql.execute(
            _UPDATE_CHAPTERS, sql.columns([(row.id, row.title, row.version, row.updated_at) for row in changed])
        )
    _save_positions("courses_chapter", moved)


def _save_videos(course_id: str, before: Outline, after: Outline) -> None:
    moved = _new_positions(before.video_order, after.video_order)
    created, changed = _split(before.videos, after.videos)
    if created:
        rows = [
            (
                row.id,
                row.chapter_id,
                row.title,
                row.filename,
                moved.pop(row.id),
                row.status,
                row.version,
                row.created_at,
            )
            for row in created
        ]
        sql.execute(_INSERT_VIDEOS, [course_id, *sql.columns(rows)])
    if changed:
        values = [
            (row.id, row.chapter_id, row.title, row.filename, row.status, row.version, row.updated_at)
            for row in changed
        ]
        sql.execute(_UPDATE_VIDEOS, sql.columns(values))
    _save_positions("courses_video", moved)


def delete(before: Outline, after: Outline) -> list[UUID]:
    """
    Delete the chapters and videos that are not there any more, and let go of the videos' files.

    Comes last: what moved out of them stays. Returns the videos that are gone.
    """
    chapters = _ids(before.chapters.keys() - after.chapters.keys())
    videos = _ids(before.videos.keys() - after.videos.keys())
    gone = sql.rows(_DELETE_VIDEOS, [videos, chapters]) if videos or chapters else []
    if chapters:
        Chapter.objects.filter(pk__in=chapters).delete()
    files = [file_id for _, file_id in gone if file_id]
    if files:
        purges.discard(StoredFile.objects.filter(pk__in=files), reason="video deleted")
    return [video_id for video_id, _ in gone]


def _split(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Tell rows that are new from those that are another object than before."""
    created = [row for id_, row in after.items() if id_ not in before]
    changed = [row for id_, row in after.items() if id_ in before and before[id_] is not row]
    return created, changed


def _new_positions(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Map each item whose place is not what it was to its place now."""
    places: dict[str, int] = {}
    for key, order in after.items():
        old = before.get(key, ())
        if old == order:
            continue
        known = dict(zip(old, range(len(old)), strict=True))
        places |= {id_: place for place, id_ in enumerate(order) if known.get(id_) != place}
    return places


def _save_positions(table: str, places: Mapping[str, int]) -> None:
    if places:
        sql.execute(_UPDATE_POSITIONS.format(table=table), [list(places), list(places.values())])


def _ids(texts: Iterable[str]) -> list[UUID]:
    return [UUID(text) for text in texts]


_LOAD_COURSE = """
    SELECT
        ARRAY(
            SELECT ARRAY[user_id::text, role] FROM courses_membership
            WHERE course_id = course.id AND (%b::uuid[] IS NULL OR user_id = ANY(%b::uuid[]))
        ),
        owner_id, title, description, price, currency, version, created_at, updated_at, deleted_at
    FROM courses_course course WHERE id = %s FOR NO KEY UPDATE
"""
_LOAD_CHAPTERS = """
    SELECT id, title, version, created_at, updated_at FROM courses_chapter WHERE course_id = %s AND id = ANY(%b)
"""
_LOAD_VIDEOS = """
    SELECT id, chapter_id, title, filename, status, version, created_at, updated_at
    FROM courses_video WHERE course_id = %s AND id = ANY(%b)
"""
_LOAD_VIDEO_ORDERS = """
    SELECT chapter_id, id FROM courses_video WHERE course_id = %s AND chapter_id = ANY(%b)
    ORDER BY chapter_id, position
"""
_INSERT_CHAPTERS = """
    INSERT INTO courses_chapter (course_id, id, title, position, version, created_at, updated_at)
    SELECT %s, id, title, position, version, at, at
    FROM unnest(%b::uuid[], %b::text[], %b::int[], %b::int[], %b::timestamptz[])
        AS row(id, title, position, version, at)
"""
_UPDATE_CHAPTERS = """
    UPDATE courses_chapter chapter SET title = row.title, version = row.version, updated_at = row.at
    FROM unnest(%b::uuid[], %b::text[], %b::int[], %b::timestamptz[]) AS row(id, title, version, at)
    WHERE chapter.id = row.id
"""
_INSERT_VIDEOS = """
    INSERT INTO courses_video
        (course_id, id, chapter_id, title, filename, position, status, version, created_at, updated_at)
    SELECT %s, id, chapter_id, title, filename, position, status, version, at, at
    FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::int[], %b::text[], %b::int[], %b::timestamptz[])
        AS row(id, chapter_id, title, filename, position, status, version, at)
"""
_UPDATE_VIDEOS = """
    UPDATE courses_video video
    SET chapter_id = row.chapter_id, title = row.title, filename = row.filename, status = row.status,
        version = row.version, updated_at = row.at
    FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::text[], %b::int[], %b::timestamptz[])
        AS row(id, chapter_id, title, filename, status, version, at)
    WHERE video.id = row.id
"""
_DELETE_VIDEOS = "DELETE FROM courses_video WHERE id = ANY(%b) OR chapter_id = ANY(%b) RETURNING id, file_id"
_UPDATE_POSITIONS = """
    UPDATE {table} item SET position = row.position
    FROM unnest(%b::uuid[], %b::int[]) AS row(id, position) WHERE item.id = row.id
"""
