"""
Finding what a user may see or change.

What they may not see does not exist for them. What they asked for themselves and is still being created may be changed
already: the change queues up behind the creation.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import Model, QuerySet

from apps.accounts.models import User
from apps.core import sql
from apps.core.errors import Gone, NotFound, PermissionDenied
from apps.courses import outline
from apps.courses.models import Chapter, Course, Membership, Role, Video
from apps.operations import selectors as operations
from apps.operations.models import Step
from broadcast.contracts import topics

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Found(Generic[Row]):
    """
    Something to be changed, and the course it is in.

    ``row`` is None while it is still being created by the same user; ``course`` too, and where only its id is needed.
    """

    course_id: UUID
    course: Course | None
    row: Row | None

    @property
    def lane(self) -> str:
        """The lane in which it is changed, which is named like the course's topic."""
        return topics.course(self.course_id)


# Reading


def readable_courses(user: User) -> "QuerySet[Membership]":
    """Return the user's memberships of courses that are not deleted, with their courses."""
    return _memberships(user).filter(course__deleted_at=None)


def deleted_courses(user: User) -> "QuerySet[Membership]":
    """Return the memberships of the courses that the user owns and has deleted."""
    return _memberships(user).filter(role=Role.OWNER).exclude(course__deleted_at=None)


def readable(user: User, course_id: UUID) -> Membership:
    """
    Find a course that the user may read: one that is not deleted, or that is theirs.

    Raises:
        NotFound: there is none.
    """
    membership = _memberships(user).filter(course=course_id).first()
    if membership is None or (membership.course.deleted_at and membership.role != Role.OWNER):
        raise NotFound("There is no such course.")
    return membership


def readable_chapter(user: User, chapter_id: UUID) -> Chapter:
    """Find a chapter in a course that the user may read."""
    chapter = Chapter.objects.filter(pk=chapter_id).first()
    if chapter is None or not _may_read(user, chapter.course_id):
        raise NotFound("There is no such chapter.")
    return chapter


def readable_video(user: User, video_id: UUID) -> Video:
    """Find a video in a course that the user may read."""
    video = Video.objects.select_related("file").filter(pk=video_id).first()
    if video is None or not _may_read(user, video.course_id):
        raise NotFound("There is no such video.")
    return video


def courses_heard_by(user: User, ids: Collection[UUID]) -> set[UUID]:
    """
    Return those of the courses that the user may hear, deleted ones included.

    Holds the memberships until the transaction ends: withdrawing one waits for it, or is seen by it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT course_id FROM courses_membership WHERE user_id = %s AND course_id = ANY(%b) FOR KEY SHARE",
            [user.pk, list(ids)],
        )
        return {row[0] for row in cursor.fetchall()}


def _memberships(user: User) -> "QuerySet[Membership]":
    return Membership.objects.filter(user=user).select_related("course")


def _may_read(user: User, course_id: UUID) -> bool:
    try:
        return bool(readable(user, course_id))
    except NotFound:
        return False


# Changing


def changeable_course(user: User, course_id: UUID, action: str) -> Found[Course]:
    """
    Find a course that the user may change by ``action``.

    Raises:
        NotFound: there is none that the user knows of.
        PermissionDenied: the user's role does not allow it.
        Gone: it is deleted.
    """
    course, coming = _look_up(user, Course, _COURSE_WITH_ROLE, course_id)
    if course is None:
        if coming is None:
            raise NotFound("There is no such course.")
        return Found(course_id, None, None)
    _check(course, action)
    return Found(course_id, course, course)


def changeable_chapter(user: User, chapter_id: UUID, action: str) -> Found[Chapter]:
    """Find a chapter that the user may change; errors as for a course."""
    return _changeable(user, Chapter, _CHAPTER, chapter_id, action)


def changeable_video(user: User, video_id: UUID, action: str) -> Found[Video]:
    """Find a video that the user may change; errors as for a course."""
    return _changeable(user, Video, _VIDEO, video_id, action)


def _changeable(user: User, model: type[Row], query: str, id_: UUID, action: str) -> Found[Row]:
    row, coming = _look_up(user, model, query, id_)
    if row is None:
        if coming is None:
            raise NotFound
        course_id = UUID(topics.parse(coming.lane).id)
        return Found(course_id, changeable_course(user, course_id, action).course, None)
    _check(row, action)
    return Found(row.course_id, None, row)  # type: ignore[attr-defined]


def _check(row: Any, action: str) -> None:
    """Check a row that brings its reader's role in its course, and when that course was deleted."""
    if row.role is None:
        raise NotFound
    if row.course_deleted_at and action != "course.restore":
        raise Gone("This course is deleted.")
    if not outline.may(row.role, action):
        raise PermissionDenied


def _look_up(user: User, model: type[Row], query: str, id_: UUID) -> tuple[Row | None, Step | None]:
    """
    Find a row, or else the step by which the user is about to have it created.

    What is neither there nor pending may have been pending when we looked for it and be there when we asked what is
    pending: then it is found the second time.
    """
    row = _first(user, model, query, id_)
    coming = operations.pending_creation(user, _ID_NAMES[model], id_) if row is None else None
    if row is None and coming is None:
        row = _first(user, model, query, id_)
    return row, coming


def _first(user: User, model: type[Row], query: str, id_: UUID) -> Row | None:
    return next(iter(sql.instances(model, query, [user.pk, id_])), None)


_ID_NAMES: dict[type[Model], str] = {Course: "courseId", Chapter: "chapterId", Video: "videoId"}
_COURSE_WITH_ROLE = """
    SELECT course.*, membership.role, course.deleted_at AS course_deleted_at FROM courses_course course
    JOIN courses_membership membership ON membership.course_id = course.id
    WHERE membership.user_id = %s AND course.id = %s
"""
_ITEM_WITH_ROLE = """
    SELECT item.*, membership.role, course.deleted_at AS course_deleted_at FROM {table} item
    JOIN courses_course course ON course.id = item.course_id
    LEFT JOIN courses_membership membership ON membership.course_id = item.course_id AND membership.user_id = %s
    WHERE item.id = %s
"""
_CHAPTER = _ITEM_WITH_ROLE.format(table="courses_chapter")
_VIDEO = _ITEM_WITH_ROLE.format(table="courses_video")
