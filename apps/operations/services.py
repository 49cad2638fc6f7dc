"""What is done to whole operations: cancelling, retrying, giving up on steps that never came, forgetting."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet

from apps.accounts.models import User
from apps.core import clock, errors
from apps.operations import lanes, lifecycle, open_steps, submit
from apps.operations.models import Operation, Step, StepStatus

_AT_ONCE = 500


def cancel(operation_id: UUID) -> None:
    """
    Cancel what has not begun, and what runs on until its owner ends it. Steps that ended stay as they are.

    Raises:
        errors.Conflict: the operation has ended.
    """
    while True:
        # Again if a request came in between: there are no more of those than the operation expects.
        with suppress(_Joined), transaction.atomic():
            _cancel_what_is_there(operation_id)
            return


class _Joined(Exception):
    """Steps have joined an operation that was about to be cancelled without them."""


def _cancel_what_is_there(operation_id: UUID) -> None:
    now = clock.now()
    # Locked first, as a runner does it: what it is running now is waited for, and counts.
    pending = _steps(operation_id, StepStatus.PENDING).select_for_update(no_key=True)
    steps = list(pending)
    running = list(_steps(operation_id, StepStatus.RUNNING))
    owned = open_steps.by_owner([*steps, *running])
    ended = [outcome for owner, of_owner in owned for outcome in owner.cancelled(of_owner, now)]
    operation = Operation.objects.select_for_update(no_key=True).get(pk=operation_id)
    if operation.finished_at:
        raise errors.Conflict("This operation has ended.", status=operation.status)
    # From here on no step can join it.
    going_on = _steps(operation_id, StepStatus.PENDING, StepStatus.RUNNING)
    if going_on.exclude(pk__in=[step.pk for step in [*steps, *running]]).exists():
        raise _Joined
    for step in steps:
        step.operation = operation
    lifecycle.cancel(operation, steps, ended, now=now)


def _steps(operation_id: UUID, *statuses: str) -> "QuerySet[Step]":
    return Step.objects.filter(operation=operation_id, status__in=statuses).order_by("id")


def retry(operation: Operation, user: User, identity: submit.Identity, digest: str) -> submit.Accepted:
    """
    Ask for an operation's failed steps again, as a new operation; what cannot be done again is left out.

    Raises:
        errors.Conflict: it has not ended, or none of its steps failed, or none of these can be done again.
        errors.CourseHubError: the user may not ask for them any more.
    """
    if not operation.finished_at:
        raise errors.Conflict("This operation has not ended.")
    failed = list(operation.steps.filter(status=StepStatus.FAILED).order_by("id"))
    if not failed:
        # Steps that never came count as failed, but nobody knows what they were.
        raise errors.Conflict("The steps that failed never came." if operation.failed else "None of its steps failed.")
    for lane in sorted({step.lane for step in failed}):
        lanes.check(lane, user, [step for step in failed if step.lane == lane])
    with transaction.atomic():
        ready = _made_ready(failed)
        groups = {group: number for number, group in enumerate({step.atomic_group for step in ready} - {None})}
        plan = submit.Plan(
            kind=operation.kind,
            steps=[submit.again(step, key=step.key, group=groups.get(step.atomic_group)) for step in ready],
            data={"retryOf": operation.key},
            is_batch=operation.kind in submit.BATCH_KINDS,
        )
        return submit.submit(user, identity, digest, plan)


def _made_ready(failed: Sequence[Step]) -> list[Step]:
    """Have the owners of failed steps make them ready to be done again; returns those that are, in their order."""
    now = clock.now()
    left_out = {step.pk for owner, steps in open_steps.by_owner(failed) for step in owner.retried(steps, now)}
    ready = [step for step in failed if step.pk not in left_out]
    if not ready:
        raise errors.Conflict("None of its failed steps can be done again.")
    return ready


def end_incomplete() -> None:
    """End operations whose missing steps have not come for `OPERATION_IDLE_SECONDS`."""
    limit = clock.now() - timedelta(seconds=settings.OPERATION_IDLE_SECONDS)
    idle = _incomplete().filter(last_request_at__lt=limit).values_list("pk", flat=True)
    for pk in idle[:_AT_ONCE]:
        _end_incomplete(pk, limit)


def _incomplete() -> "QuerySet[Operation]":
    return Operation.objects.filter(
        finished_at=None, registered__lt=F("expected"), registered=F("succeeded") + F("failed")
    )


@transaction.atomic
def _end_incomplete(pk: UUID, limit: datetime) -> None:
    locked = _incomplete().select_for_update(no_key=True, skip_locked=True)
    operation = locked.filter(pk=pk, last_request_at__lt=limit).first()
    if operation:
        lifecycle.give_up(operation, now=clock.now())


def forget_old() -> None:
    """Delete operations that ended over `OPERATION_KEPT_DAYS` ago, with their requests and steps."""
    limit = clock.now() - timedelta(days=settings.OPERATION_KEPT_DAYS)
    while True:
        ids = list(Operation.objects.filter(finished_at__lt=limit).values_list("pk", flat=True)[:_AT_ONCE])
        Operation.objects.filter(pk__in=ids).delete()
        if len(ids) < _AT_ONCE:
            return
