"""
Turning requests into steps.

What can be refused now is refused here: rights, what is not there, stale versions, lists that do not match. What may
change until the step runs is checked again when it does.
"""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from pydantic import BaseModel

from apps.accounts.models import User
from apps.core import errors, ids
from apps.courses import access, outline, schemas
from apps.courses.access import Found
from apps.courses.models import Chapter, Course, Membership, Video
from apps.operations import selectors as operations
from apps.operations import submit
from apps.operations.submit import Identity, NewStep, Plan

Body = Mapping[str, Any]


def single(
    action: str,
    found: Found[Any],
    payload: Body,
    subject: Mapping[str, Any],
    *,
    creates: UUID | None = None,
    temp_id: str | None = None,
) -> Plan:
    """Plan one step. ``subject`` are the typed ids it is about, which its answer and its events name."""
    named = {**subject, **({"tempId": temp_id} if temp_id else {})}
    step = NewStep(
        action=action,
        lane=found.lane,
        topic=found.lane,
        payload={"courseId": str(found.course_id), **payload, **subject},
        subject=named,
        creates=creates,
        temp_id=temp_id or "",
    )
    return Plan(kind=action, steps=[step], data=subject)


# Courses


def create_course(body: schemas.CreateCourse) -> Plan:
    """Plan a new course."""
    id_ = ids.new_id()
    found: Found[Course] = Found(id_, None, None)
    fields = body.model_dump(include={"title", "description", "price", "currency"})
    return single("course.create", found, fields, {"courseId": str(id_)}, creates=id_)


def update_course(user: User, course_id: UUID, body: schemas.UpdateCourse) -> Plan:
    """Plan new values for a course's own fields."""
    found = access.changeable_course(user, course_id, "course.update")
    _check_version(found, body.base_version)
    return single("course.update", found, given(body), {"courseId": str(course_id)})


def delete_course(user: User, course_id: UUID, body: schemas.Delete) -> Plan:
    """Plan a course's deletion."""
    found = access.changeable_course(user, course_id, "course.delete")
    _check_version(found, body.base_version)
    return single("course.delete", found, given(body), {"courseId": str(course_id)})


def restore_course(user: User, course_id: UUID) -> Plan:
    """Plan a deleted course's restoration."""
    found = access.changeable_course(user, course_id, "course.restore")
    return single("course.restore", found, {}, {"courseId": str(course_id)})


# Members


def set_member(user: User, course_id: UUID, body: schemas.SetMember) -> Plan:
    """Plan someone's new role."""
    found = access.changeable_course(user, course_id, "member.set")
    member = User.objects.filter(username=body.username, is_active=True).first()
    if member is None:
        raise errors.NotFound("There is no such user.", fields={"username": ["There is no such user."]})
    _check_not_owner(found, user, member.pk)
    subject = {"courseId": str(course_id), "userId": str(member.pk)}
    return single("member.set", found, {"role": body.role}, subject)


def remove_member(user: User, course_id: UUID, member_id: UUID) -> Plan:
    """Plan a member's removal; members may remove themselves."""
    action = outline.LEAVE if member_id == user.pk else "member.remove"
    found = access.changeable_course(user, course_id, action)
    _check_not_owner(found, user, member_id)
    pending = operations.has_pending(found.lane)
    if not pending and not Membership.objects.filter(course=course_id, user=member_id).exists():
        raise errors.NotFound("There is no such member.")
    return single("member.remove", found, {}, {"courseId": str(course_id), "userId": str(member_id)})


def _check_not_owner(found: Found[Course], user: User, member_id: UUID) -> None:
    owner_id = found.course.owner_id if found.course else user.pk
    if member_id == owner_id:
        raise errors.Conflict("The owner's role cannot be changed.")


# Chapters


def create_chapter(user: User, course_id: UUID, body: schemas.CreateChapter) -> Plan:
    """Plan a new chapter."""
    found = access.changeable_course(user, course_id, "chapter.create")
    id_ = ids.new_id()
    return single("chapter.create", found, given(body), {"chapterId": str(id_)}, creates=id_, temp_id=body.temp_id)


def update_chapter(user: User, chapter_id: UUID, body: schemas.UpdateChapter) -> Plan:
    """Plan a chapter's new title."""
    found = access.changeable_chapter(user, chapter_id, "chapter.update")
    _check_version(found, body.base_version)
    return single("chapter.update", found, given(body), {"chapterId": str(chapter_id)})


def delete_chapter(user: User, chapter_id: UUID, body: schemas.Delete) -> Plan:
    """Plan a chapter's deletion."""
    found = access.changeable_chapter(user, chapter_id, "chapter.delete")
    _check_version(found, body.base_version)
    return single("chapter.delete", found, given(body) | {"known": True}, {"chapterId": str(chapter_id)})


def reorder_chapters(user: User, course_id: UUID, body: schemas.ReorderChapters, identity: Identity) -> Plan:
    """Plan a new order of a course's chapters."""
    found = access.changeable_course(user, course_id, "chapter.reorder")
    _check_version(found, body.base_version)
    wanted = _resolve_all(user, identity, body.chapter_ids)
    _check_same_set(found, Chapter.objects.filter(course=course_id), wanted)
    return single("chapter.reorder", found, given(body) | {"chapterIds": wanted}, {"courseId": str(course_id)})


# Videos


def create_video(user: User, chapter_id: UUID, body: schemas.CreateVideo) -> Plan:
    """Plan a new video."""
    found = access.changeable_chapter(user, chapter_id, "video.create")
    id_ = ids.new_id()
    payload = given(body) | {"filename": body.filename, "chapterId": str(chapter_id)}
    return single("video.create", found, payload, {"videoId": str(id_)}, creates=id_, temp_id=body.temp_id)


def update_video(user: User, video_id: UUID, body: schemas.UpdateVideo) -> Plan:
    """Plan a video's new title or filename."""
    found = access.changeable_video(user, video_id, "video.update")
    _check_version(found, body.base_version)
    return single("video.update", found, given(body), {"videoId": str(video_id)})


def delete_video(user: User, video_id: UUID, body: schemas.Delete) -> Plan:
    """Plan a video's deletion."""
    found = access.changeable_video(user, video_id, "video.delete")
    _check_version(found, body.base_version)
    payload = given(body) | {"known": True, "knownIn": str(found.row.chapter_id) if found.row else None}
    return single("video.delete", found, payload, {"videoId": str(video_id)})


def move_video(user: User, video_id: UUID, body: schemas.MoveVideo, identity: Identity) -> Plan:
    """Plan a video's move to a place in its course."""
    found = access.changeable_video(user, video_id, "video.move")
    _check_version(found, body.base_version)
    target = resolve(user, identity, body.chapter_id)
    _check_in_course(user, found, target)
    payload = given(body) | {"chapterId": str(target)}
    return single("video.move", found, payload, {"videoId": str(video_id)})


def reorder_videos(user: User, chapter_id: UUID, body: schemas.ReorderVideos, identity: Identity) -> Plan:
    """Plan a new order of a chapter's videos."""
    found = access.changeable_chapter(user, chapter_id, "video.reorder")
    _check_version(found, body.base_version)
    wanted = _resolve_all(user, identity, body.video_ids)
    _check_same_set(found, Video.objects.filter(chapter=chapter_id), wanted)
    return single("video.reorder", found, given(body) | {"videoIds": wanted}, {"chapterId": str(chapter_id)})


# What the plans share
#
# What is pending is asked before what is there: a step that is done in between is then seen as one or the other. The
# other way round it would be neither.


def given(body: BaseModel) -> dict[str, Any]:
    """Give the fields that a body really has, but for those that name the request."""
    named = {"operation_id", "expect", "step_id", "action"}
    fields: dict[str, Any] = body.model_dump(by_alias=True, exclude_unset=True, mode="json", exclude=named)
    return fields


def resolve(user: User, identity: Identity, reference: str) -> UUID:
    """
    Find the id that a reference in a request means: an id, or a tempId of the same operation.

    Raises:
        errors.NotFound: it is neither.
    """
    known = submit.temp_ids(user, identity.operation_key, {reference})
    return known.get(reference) or as_id(reference)


def as_id(reference: str) -> UUID:
    """Read an id; anything else names nothing."""
    try:
        return ids.read(reference)
    except ValueError:
        raise errors.NotFound("There is no such thing here.") from None


def _resolve_all(user: User, identity: Identity, references: Collection[str]) -> list[str]:
    known = submit.temp_ids(user, identity.operation_key, set(references))
    return [str(known.get(reference) or _id_in_list(reference)) for reference in references]


def _id_in_list(reference: str) -> UUID:
    try:
        return ids.read(reference)
    except ValueError:
        raise errors.Conflict("The list names something that is not there.") from None


def _check_version(found: Found[Any], base: int | None) -> None:
    """Refuse what is stale already. With steps ahead of it, a version that is yet to come may be right."""
    if base is None or found.row is None or base == found.row.version:
        return
    if base > found.row.version:
        if operations.has_pending(found.lane):
            return
        found.row.refresh_from_db(fields=["version"])
    if base != found.row.version:
        raise errors.VersionConflict(found.row.version)


def _check_same_set(found: Found[Any], present: "QuerySet[Any]", wanted: Collection[str]) -> None:
    """Refuse a list that does not match, unless steps ahead of it may yet make it right."""
    pending = operations.has_pending(found.lane)
    there = {str(id_) for id_ in present.values_list("pk", flat=True)}
    if len(wanted) == len(set(wanted)) and (set(wanted) == there or pending):
        return
    raise errors.Conflict("The list must name each present item exactly once.")


def _check_in_course(user: User, found: Found[Video], chapter_id: UUID) -> None:
    coming = operations.pending_creation(user, "chapterId", chapter_id)
    is_coming = coming is not None and coming.lane == found.lane
    if not is_coming and not Chapter.objects.filter(pk=chapter_id, course=found.course_id).exists():
        raise errors.NotFound("There is no such chapter in this course.")
