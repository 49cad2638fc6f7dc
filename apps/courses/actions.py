"""Running the steps of a course's lane."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from apps.courses import outline as rules
from apps.courses import store
from apps.courses.models import Course
from apps.courses.outline import Change, Outline, Result
from apps.operations.lanes import Outcome
from apps.operations.models import Step
from apps.outbox.emit import Draft, revoke_access
from broadcast.contracts import topics

DISABLED = ""
"""Stands for an actor who was disabled since they asked: nobody, with no role anywhere."""


class CourseLane:
    """Runs steps on one course: load, apply the rules, write the difference."""

    def is_there(self, lane: str) -> bool:
        return Course.objects.filter(pk=topics.parse(lane).id).exists()

    def run(self, lane: str, steps: Sequence[Step], now: datetime) -> list[Outcome]:
        changes = [_change(step) for step in steps]
        before = store.load(UUID(topics.parse(lane).id), store.needs_of(changes))
        after = before.copy()
        results = rules.apply_all(after, changes, now)
        store.save(before, after)
        return [_outcome(lane, after, step, result) for step, result in zip(steps, results, strict=True)]


def _change(step: Step) -> Change:
    actor = step.operation.user
    return Change(step.action, str(actor.pk) if actor.is_active else DISABLED, step.payload, step.atomic_group)


def _outcome(lane: str, outline: Outline, step: Step, result: Result) -> Outcome:
    # What never came to be has no listeners: its failures are told to whoever asked for it.
    topic = lane if outline.course else topics.user(step.operation.user_id)
    if result.error:
        return Outcome(step, topic, error=result.error.as_dict(), silent=result.error.code == "rolled_back")
    return Outcome(step, topic, data=result.data, drafts=list(_drafts(lane, step, result)))


def _drafts(lane: str, step: Step, result: Result) -> Iterator[Draft]:
    """Address the events: to the course, to some users on their own topics, and to the broadcast service itself."""
    key = step.operation.key
    for event in result.events:
        yield Draft(event.type, lane, key, event.data)
        for user in event.also_to:
            yield Draft(event.type, topics.user(user), key, event.data)
    for user in result.revoked:
        yield revoke_access(user_id=user, topic=lane)
