"""Turning a consolidated save into steps: one for each change, with every tempId replaced by the id it stands for."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from apps.accounts.models import User
from apps.core import errors, ids
from apps.courses import access, plans, schemas
from apps.courses.models import Chapter, Video
from apps.operations import selectors as operations
from apps.operations import submit
from apps.operations.submit import Identity, NewStep, Plan
from broadcast.contracts import topics

_CREATED = {"chapter.create": "chapterId", "video.create": "videoId"}
_SUBJECT = {
    "course.update": "courseId",
    "chapter.create": "chapterId",
    "chapter.update": "chapterId",
    "chapter.delete": "chapterId",
    "chapter.reorder": "courseId",
    "video.create": "videoId",
    "video.update": "videoId",
    "video.delete": "videoId",
    "video.move": "videoId",
    "video.reorder": "chapterId",
}
_KINDS = {"chapterId": "chapter", "chapterIds": "chapter", "videoId": "video", "videoIds": "video"}


def plan(user: User, course_id: UUID, body: schemas.Save, identity: Identity) -> Plan:
    """
    Plan a save.

    Raises:
        errors.Invalid: a tempId is unknown, given twice, or stands for the wrong thing; a stepId occurs twice.
        errors.NotFound, errors.PermissionDenied, errors.Gone: about the course.
    """
    access.changeable_course(user, course_id, "chapter.update")
    keys = _step_keys(body.changes, identity.request_key)
    resolved = _Resolver(submit.temp_ids(user, identity.operation_key, _candidates(body.changes)))
    payloads = [resolved.payload(index, change, course_id) for index, change in enumerate(body.changes)]
    _note_known(course_id, body.changes, payloads)
    steps = [
        _step(course_id, change, payload, key, 0 if body.atomic else None)
        for change, payload, key in zip(body.changes, payloads, keys, strict=True)
    ]
    data = {
        "ids": resolved.assigned,
        "steps": [{"stepId": step.key, "action": step.action, **step.subject} for step in steps],
    }
    return Plan(submit.SAVE, steps, data, is_batch=True)


def _step(course_id: UUID, change: Any, payload: dict[str, Any], key: str, group: int | None) -> NewStep:
    name = _SUBJECT[change.action]
    temp_id = payload.get("tempId")
    lane = topics.course(course_id)
    return NewStep(
        action=change.action,
        lane=lane,
        topic=lane,
        payload=payload,
        subject={name: payload[name], **({"tempId": temp_id} if temp_id else {})},
        creates=UUID(payload[name]) if change.action in _CREATED else None,
        temp_id=temp_id or "",
        key=key,
        group=group,
    )


def _step_keys(changes: Sequence[Any], request_key: str) -> list[str]:
    keys = [change.step_id or f"{request_key}.{index}" for index, change in enumerate(changes)]
    doubled = [key for key, count in Counter(keys).items() if count > 1]
    if doubled:
        raise errors.Invalid(
            "Each change needs a stepId of its own.", fields={"changes": [f"The stepId {doubled[0]} occurs twice."]}
        )
    return keys


def _candidates(changes: Sequence[Any]) -> set[str]:
    """Collect what may be a tempId of an earlier request: all that is referred to, for a tempId may look like an id."""
    return {name for change in changes for _, names in _references(change) for name in names} | {
        change.temp_id for change in changes if getattr(change, "temp_id", None)
    }


def _references(change: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield each field of a change that refers to something, with what it refers to."""
    for attribute, field in (("chapter_id", "chapterId"), ("video_id", "videoId")):
        if hasattr(change, attribute):
            yield field, [getattr(change, attribute)]
    for attribute, field in (("chapter_ids", "chapterIds"), ("video_ids", "videoIds")):
        if hasattr(change, attribute):
            yield field, getattr(change, attribute)


class _Resolver:
    """Replaces tempIds by ids, change by change, and assigns ids to what is created."""

    def __init__(self, earlier: dict[str, UUID]) -> None:
        self.assigned: dict[str, str] = {}
        self._known = {name: str(id_) for name, id_ in earlier.items()}
        self._kinds: dict[str, str] = {}

    def payload(self, index: int, change: Any, course_id: UUID) -> dict[str, Any]:
        payload = {"courseId": str(course_id), **plans.given(change)}
        for field, names in _references(change):
            found = [self._resolve(name, _KINDS[field], f"changes.{index}.{field}") for name in names]
            payload[field] = found if field.endswith("s") else found[0]
        if change.action in _CREATED:
            payload[_CREATED[change.action]] = self._assign(change, f"changes.{index}.tempId")
        if change.action == "video.create":
            payload["filename"] = change.filename
        return payload

    def _assign(self, change: Any, path: str) -> str:
        id_ = str(ids.new_id())
        if change.temp_id is not None:
            if change.temp_id in self._known:
                raise errors.Invalid("A tempId is given twice.", fields={path: ["This tempId is taken."]})
            self._known[change.temp_id] = self.assigned[change.temp_id] = id_
            self._kinds[change.temp_id] = change.action.partition(".")[0]
        return id_

    def _resolve(self, name: str, kind: str, path: str) -> str:
        if name in self._known:
            if self._kinds.get(name, kind) != kind:
                raise errors.Invalid("A tempId stands for something else.", fields={path: [f"This is no {kind}."]})
            return self._known[name]
        try:
            return str(ids.read(name))
        except ValueError:
            message = "This is neither an id nor a tempId that an earlier change gave."
            raise errors.Invalid("A reference is not known.", fields={path: [message]}) from None


def _note_known(course_id: UUID, changes: Sequence[Any], payloads: Sequence[dict[str, Any]]) -> None:
    """Note on each deletion whether its object is there now: only then may it be found gone later."""
    if not any(change.action.endswith(".delete") for change in changes):
        return
    chapters, videos = ({payload[name] for payload in payloads if name in payload} for name in ("chapterId", "videoId"))
    # First what is coming, then what is there: what arrives in between is found by one of them at least.
    there = {"chapterId": _coming(course_id, "chapterId", chapters), "videoId": _coming(course_id, "videoId", videos)}
    homes = {
        str(id_): str(chapter)
        for id_, chapter in Video.objects.filter(course=course_id, pk__in=videos).values_list("pk", "chapter")
    }
    there["chapterId"] |= _present_chapters(course_id, chapters)
    there["videoId"] |= homes.keys()
    for change, payload in zip(changes, payloads, strict=True):
        if name := _CREATED.get(change.action):
            there[name].add(payload[name])
            homes.setdefault(payload.get("videoId", ""), payload.get("chapterId", ""))
        if change.action == "chapter.delete":
            payload["known"] = payload["chapterId"] in there["chapterId"]
        if change.action == "video.delete":
            payload |= {"known": payload["videoId"] in there["videoId"], "knownIn": homes.get(payload["videoId"])}


def _present_chapters(course_id: UUID, wanted: set[str]) -> set[str]:
    rows = Chapter.objects.filter(course=course_id, pk__in=wanted).values_list("pk", flat=True)
    return {str(id_) for id_ in rows}


def _coming(course_id: UUID, name: str, wanted: set[str]) -> set[str]:
    """Find those that steps ahead of this save are about to create."""
    found = operations.pending_creations(topics.course(course_id), name, {UUID(id_) for id_ in wanted})
    return {str(id_) for id_ in found}
