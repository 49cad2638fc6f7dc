"""Running the steps of a library's lane."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from apps.accounts.models import User
from apps.core.errors import CourseHubError, Gone
from apps.courses import access as courses
from apps.media import bulk, dependencies, rules, selectors, sources, store
from apps.media.errors import BLOCKERS_MAX, InUse
from apps.media.library import Change, Library, Result
from apps.operations.lanes import Outcome
from apps.operations.models import Step
from apps.operations.pace import Pace
from apps.outbox.emit import Draft
from apps.uploads import services as uploads
from broadcast.contracts import topics


class MediaLane:
    """Runs steps on one owner's files: load, apply the rules, write the difference."""

    pace = Pace(most=200, at_first=50)
    """A bulk request may keep a course or a file from others for 100 ms at most."""

    def is_there(self, lane: str) -> bool:  # noqa: ARG002
        return True

    def check(self, lane: str, user: User, steps: Sequence[Step]) -> None:
        if lane != topics.user(user.pk):
            # Of somebody else's files one may remove links, as long as one may edit the course.
            for course_id in {step.payload["courseId"] for step in steps}:
                courses.changeable_course(user, UUID(course_id), "media.unlink")

    def run(self, lane: str, steps: Sequence[Step], now: datetime) -> list[Outcome]:
        dependencies.check_ready(steps)
        under_way = bulk.begin(steps)
        owner_id = topics.parse(lane).id
        changes = [_change(step) for step in steps]
        before = store.load(owner_id, store.needs_of(changes))
        changes = _with_facts_of_uploads(steps, changes)
        after = before.copy()
        kept = timedelta(days=settings.MEDIA_TRASH_DAYS)
        results = rules.apply_all(after, changes, now, kept=kept)
        store.save(before, after)
        done = list(zip(steps, results, strict=True))
        store.record([entry for step, result in done for entry in _entries(owner_id, step, result, now)])
        told = _tell_of_videos(done, now)
        outcomes = [_outcome(owner_id, step, result, told.get(step.pk, ())) for step, result in done]
        _begin_uploads(done, now)
        ended = _end_uploads(before, after, steps, now)
        bulk.tell_progress(under_way, outcomes)
        return [*outcomes, *ended]


def _change(step: Step) -> Change:
    actor = step.operation.user
    return Change(step.action, str(actor.pk) if actor.is_active else "", step.payload)


def _with_facts_of_uploads(steps: Sequence[Step], changes: list[Change]) -> list[Change]:
    """
    Mark those uploads that ended before their step's turn came, and those that create their file.

    Those that have not ended are locked from here on.
    """
    asked = [step for step in steps if step.action == "media.upload"]
    if not asked:
        return changes
    ended, creating = uploads.ended_before(asked), uploads.creating(asked)
    facts = {step.pk: {"uploadEnded": step.pk in ended, "creates": step.pk in creating} for step in asked}
    return [
        replace(change, payload={**change.payload, **facts.get(step.pk, {})})
        for step, change in zip(steps, changes, strict=True)
    ]


def _end_uploads(before: Library, after: Library, steps: Sequence[Step], now: datetime) -> list[Outcome]:
    """End what is still being uploaded into files that go into the trash, or for good; it may have begun just now."""
    begun = {step.payload["mediaId"] for step in steps if step.action == "media.upload"}
    gone = (_living(before) | begun) - _living(after)
    return uploads.fail_all_of([UUID(id_) for id_ in gone], Gone("The file was deleted."), now) if gone else []


def _living(library: Library) -> set[str]:
    return {file.id for file in library.files.values() if not file.deleted_at}


def _begin_uploads(done: Sequence[tuple[Step, Result]], now: datetime) -> None:
    asked = [(step, result) for step, result in done if step.action == "media.upload"]
    if asked:
        uploads.begin([step for step, result in asked if not result.error])
        failed = {UUID(step.payload["uploadId"]): result.error.as_dict() for step, result in asked if result.error}
        uploads.never_begun(failed, now)


def _tell_of_videos(done: Sequence[tuple[Step, Result]], now: datetime) -> dict[int, list[Draft]]:
    """Tell which files videos have now, each once, with the last step that changed it."""
    last = {UUID(id_): step for step, result in done for id_ in result.fed}
    told: dict[int, list[Draft]] = {}
    for id_, draft in sources.tell({id_: step.operation.key for id_, step in last.items()}, now):
        told.setdefault(last[id_].pk, []).append(draft)
    return told


def _entries(owner_id: str, step: Step, result: Result, now: datetime) -> list[store.Line]:
    return [
        store.entry(
            owner_id=owner_id,
            media_id=line.media_id,
            media_name=line.media_name,
            action=line.action,
            actor_id=str(step.operation.user.pk),
            operation_id=step.operation.key,
            details=line.details,
            now=now,
        )
        for line in result.history
    ]


def _outcome(owner_id: str, step: Step, result: Result, told: Sequence[Draft]) -> Outcome:
    if result.error:
        return Outcome(step, step.topic, error=_explained(owner_id, result.error).as_dict())
    drafts = [
        Draft(event.type, topic, step.operation.key, event.data) for event in result.events for topic in event.topics
    ]
    return Outcome(step, step.topic, data=result.data, drafts=[*drafts, *told], open=result.is_open)


def _explained(owner_id: str, error: CourseHubError) -> CourseHubError:
    """Say what keeps a file from being deleted, with the titles that only the database knows."""
    if isinstance(error, InUse):
        return error.with_blockers(selectors.blockers(UUID(owner_id), error.links[:BLOCKERS_MAX]))
    return error
