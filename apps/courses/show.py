"""How courses and what is in them look in answers."""

from typing import Any
from uuid import UUID

from django.db import connection, transaction

from apps.accounts.models import User
from apps.core import clock
from apps.courses import access, sources
from apps.courses.models import Chapter, Course, Membership, Video, VideoStatus
from apps.outbox import selectors as outbox
from apps.uploads.models import StoredFile
from apps.uploads.show import final_data
from broadcast.contracts import topics


def course(membership: Membership) -> dict[str, Any]:
    """Render a course for the member."""
    return _course(membership.course, membership.role)


def _course(course: Course, role: str) -> dict[str, Any]:
    return {
        "id": str(course.pk),
        "title": course.title,
        "description": course.description,
        "price": None if course.price is None else f"{course.price:.2f}",
        "currency": course.currency,
        "version": course.version,
        "role": role,
        "ownerId": str(course.owner_id),
        "createdAt": clock.to_rfc3339(course.created_at),
        "updatedAt": clock.to_rfc3339(course.updated_at),
        "deletedAt": clock.to_rfc3339(course.deleted_at),
    }


def chapter(chapter: Chapter) -> dict[str, Any]:
    """Render a chapter."""
    return {
        "id": str(chapter.pk),
        "courseId": str(chapter.course_id),
        "title": chapter.title,
        "position": chapter.position,
        "version": chapter.version,
        "createdAt": clock.to_rfc3339(chapter.created_at),
        "updatedAt": clock.to_rfc3339(chapter.updated_at),
    }


def video(video: Video, taken: StoredFile | None) -> dict[str, Any]:
    """Render a video; ``taken``: the file that it has from elsewhere (`apps.courses.sources`)."""
    file = taken or video.file
    return {
        "id": str(video.pk),
        "courseId": str(video.course_id),
        "chapterId": str(video.chapter_id),
        "title": video.title,
        "filename": video.filename,
        "position": video.position,
        "status": VideoStatus.COMPLETE if taken else video.status,
        "file": final_data(file) if file else None,
        "version": video.version,
        "createdAt": clock.to_rfc3339(video.created_at),
        "updatedAt": clock.to_rfc3339(video.updated_at),
    }


def member(membership: Membership) -> dict[str, Any]:
    """Render a membership."""
    return {"userId": str(membership.user_id), "username": membership.user.username, "role": membership.role}


@transaction.atomic(durable=True)
def outline(user: User, course_id: UUID) -> dict[str, Any]:
    """
    Render a whole course that the user may read, as it was at one moment.

    Everything is read from one snapshot of the database, the topic's seq included: the events after that seq are
    exactly what the outline lacks.

    Raises:
        NotFound: there is none.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    membership = access.readable(user, course_id)
    chapters = {
        row.pk: chapter(row) | {"videos": []} for row in Chapter.objects.filter(course=course_id).order_by("position")
    }
    taken = sources.of_course(course_id)
    for row in Video.objects.filter(course=course_id).select_related("file").order_by("chapter", "position"):
        chapters[row.chapter_id]["videos"].append(video(row, taken.get(row.pk)))
    topic = topics.course(course_id)
    return {
        "course": course(membership),
        "chapters": list(chapters.values()),
        "topic": topic,
        "seq": outbox.newest_seq(topic),
    }
