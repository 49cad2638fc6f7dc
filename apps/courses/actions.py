"""Running the steps of a course's lane."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.accounts.models import User
from apps.core.errors import Gone, PermissionDenied
from apps.courses import access, presence, sources, store
from apps.courses import outline as rules
from apps.courses.models import Course, Video
from apps.courses.outline import Change, Outline, Result
from apps.courses.presence import Going
from apps.operations.lanes import Outcome
from apps.operations.models import Step
from apps.outbox.emit import Draft, revoke_access
from apps.uploads import services as uploads
from broadcast.contracts import topics

MEMBER_ACTIONS = frozenset({"member.set", "member.remove"})
DISABLED = ""
"""Stands for an actor who was disabled since they asked: nobody, with no role anywhere."""


class CourseLane:
    """Runs steps on one course: load, apply the rules, write the difference, tell who else is concerned."""

    def is_there(self, lane: str) -> bool:
        return Course.objects.filter(pk=topics.parse(lane).id).exists()

    def check(self, lane: str, user: User, steps: Sequence[Step]) -> None:
        actions = {rules.asked_for(step.action, str(user.pk), step.payload) for step in steps}
        if "course.create" not in actions:
            for action in sorted(actions):
                access.changeable_course(user, UUID(topics.parse(lane).id), action)

    def run(self, lane: str, steps: Sequence[Step], now: datetime) -> list[Outcome]:
        course_id = UUID(topics.parse(lane).id)
        changes = [_change(step) for step in steps]
        before = store.load(course_id, store.needs_of(changes))
        changes = _with_facts_of_uploads(steps, changes)
        after = before.copy()
        results = rules.apply_all(after, changes, now)
        store.save(before, after)
        done = list(zip(steps, results, strict=True))
        told = _tell(before, after, done, now)
        _begin_uploads(done, now)
        gone = {*store.delete(before, after), *_gone_at_once(done, after)}
        ended = _end_uploads(after, gone, now) + _shut_out(lane, after, done, now)
        return [*(_outcome(lane, after, step, result, told.get(step.pk, ())) for step, result in done), *ended]


def _change(step: Step) -> Change:
    actor = step.operation.user
    return Change(step.action, str(actor.pk) if actor.is_active else DISABLED, step.payload, step.atomic_group)


def _with_facts_of_uploads(steps: Sequence[Step], changes: list[Change]) -> list[Change]:
    """
    Mark those uploads that ended before their step's turn came, those to videos that have their file elsewhere, and
    those that create their video.

    Those that have not ended are locked from here on.
    """
    asked = [step for step in steps if step.action == rules.UPLOAD]
    if not asked:
        return changes
    ended, taken = uploads.ended_before(asked), sources.of_videos({UUID(step.payload["videoId"]) for step in asked})
    creating = uploads.creating(asked)
    return [
        replace(change, payload=_upload_facts(step, ended, taken, creating)) if step.action == rules.UPLOAD else change
        for step, change in zip(steps, changes, strict=True)
    ]


def _upload_facts(step: Step, ended: set[int], taken: Collection[UUID], creating: set[int]) -> dict[str, Any]:
    facts = {"uploadEnded": step.pk in ended, "hasFileFromElsewhere": UUID(step.payload["videoId"]) in taken}
    return {**step.payload, **facts, "creates": step.pk in creating}


def _begin_uploads(done: Sequence[tuple[Step, Result]], now: datetime) -> None:
    asked = [(step, result) for step, result in done if step.action == rules.UPLOAD]
    uploads.begin([step for step, result in asked if not result.error])
    uploads.never_begun(
        {UUID(step.payload["uploadId"]): result.error.as_dict() for step, result in asked if result.error}, now
    )


def _gone_at_once(done: Sequence[tuple[Step, Result]], after: Outline) -> set[UUID]:
    """Name the videos whose upload has just begun and that are deleted already."""
    begun = {step.payload["videoId"] for step, result in done if step.action == rules.UPLOAD and not result.error}
    return {UUID(id_) for id_ in begun - after.videos.keys()}


def _end_uploads(after: Outline, gone: Collection[UUID], now: datetime) -> list[Outcome]:
    """End what is still being uploaded to videos that go, alone or with their course."""
    ended = uploads.fail_all_of(gone, Gone("The video was deleted."), now) if gone else []
    # Whatever the course was before: one may come, or return, and have an upload begun, and go with the same steps.
    if after.course and after.course.deleted_at:
        videos = Video.objects.filter(course=UUID(after.course.id)).values_list("pk", flat=True)
        ended += uploads.fail_all_of(list(videos), Gone("The course was deleted."), now)
    return ended


def _shut_out(lane: str, after: Outline, done: Sequence[tuple[Step, Result]], now: datetime) -> list[Outcome]:
    """End what is still being uploaded by those who were removed, or may only watch from now on."""
    changed = {result.data["userId"] for step, result in done if step.action in MEMBER_ACTIONS and not result.error}
    users = [UUID(user) for user in changed if not rules.may(after.members.get(user, ""), rules.UPLOAD)]
    return uploads.fail_all_by(users, lane, PermissionDenied(), now) if users else []


def _tell(
    before: Outline, after: Outline, done: Sequence[tuple[Step, Result]], now: datetime
) -> dict[int, list[Draft]]:
    """Tell the apps above what goes or returns; gives back the events that come of it, by the step that led to it."""
    told: dict[int, list[Draft]] = {}
    for step, draft in _partings_and_returns(before, after, done, now):
        told.setdefault(step.pk, []).append(draft)
    return told


def _partings_and_returns(
    before: Outline, after: Outline, done: Sequence[tuple[Step, Result]], now: datetime
) -> list[tuple[Step, Draft]]:
    if before.course is None or after.course is None:
        return []
    id_, told = UUID(after.course.id), []
    if before.course.deleted_at and not after.course.deleted_at:
        # What returns with the first restoration may go with a chapter that is deleted after it.
        told += presence.tell_returned(id_, _doers(done, "course.restore")[0], now)
    goes = after.course.deleted_at is not None and before.course.deleted_at is None
    chapters, videos = (_deleted_by(done, kind) for kind in ("chapter", "video"))
    if goes or chapters or videos:
        course = _doers(done, "course.delete")[-1] if goes else None
        told += presence.tell_going(Going(id_, course, chapters, videos), now)
    return told


def _doers(done: Sequence[tuple[Step, Result]], action: str) -> list[Step]:
    """List the steps that did something, in order."""
    did = ((step, result) for step, result in done if step.action == action and not result.error)
    return [step for step, result in did if not result.data.get("alreadyGone")]


def _deleted_by(done: Sequence[tuple[Step, Result]], kind: str) -> dict[UUID, Step]:
    """Map the chapters or videos that were deleted to the steps that did it."""
    deletions = ((step, result) for step, result in done if step.action == f"{kind}.delete" and not result.error)
    return {UUID(result.data[f"{kind}Id"]): step for step, result in deletions if not result.data.get("alreadyGone")}


def _outcome(lane: str, outline: Outline, step: Step, result: Result, told: Sequence[Draft]) -> Outcome:
    # What never came to be has no listeners: its failures are told to whoever asked for it.
    topic = lane if outline.course else topics.user(step.operation.user_id)
    if result.error:
        return Outcome(step, topic, error=result.error.as_dict(), silent=result.error.code == "rolled_back")
    drafts = [*_drafts(lane, step, result), *told]
    return Outcome(step, topic, data=result.data, drafts=drafts, open=step.action == rules.UPLOAD)


def _drafts(lane: str, step: Step, result: Result) -> Iterator[Draft]:
    """Address the events: to the course, to some users on their own topics, and to the broadcast service itself."""
    key = step.operation.key
    for event in result.events:
        yield Draft(event.type, lane, key, event.data)
        for user in event.also_to:
            yield Draft(event.type, topics.user(user), key, event.data)
    for user in result.revoked:
        yield revoke_access(user_id=user, topic=lane)
