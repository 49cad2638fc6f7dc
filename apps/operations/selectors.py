"""Questions about operations."""

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Min, Q, QuerySet
from prometheus_client.core import GaugeMetricFamily, Metric

from apps.accounts.models import User
from apps.core import clock, errors, sql
from apps.operations.models import Operation, Step, StepStatus
from apps.operations.waiting import waiters


def visible_to(user: User) -> "QuerySet[Operation]":
    """Return the operations that a user may see: their own."""
    return Operation.objects.filter(user=user)


def operation(user: User, key: str) -> Operation:
    """
    Find one of the user's operations by its operationId.

    Raises:
        errors.NotFound: there is none.
    """
    found = visible_to(user).filter(key=key).first() if "\x00" not in key else None
    if found is None:
        raise errors.NotFound("There is no such operation.")
    return found


def operation_once_ended(user: User, key: str, *, wait_seconds: float) -> Operation:
    """Find an operation as it is when it ends, or when the time is over, or at once when one cannot wait now."""
    found = operation(user, key)
    if found.finished_at or not wait_seconds:
        return found
    with waiters.waiting_for(found.pk) as ended:
        found = operation(user, key)
        if ended is None or found.finished_at:
            return found
        ended.wait(wait_seconds)
    return operation(user, key)


def lanes_left_lying(older_than: timedelta, limit: int) -> list[str]:
    """Name lanes with pending steps that nobody has picked up for some time, the oldest first."""
    pending = Step.objects.filter(status=StepStatus.PENDING, created_at__lt=clock.now() - older_than)
    oldest = pending.values("lane").annotate(first=Min("id")).order_by("first")
    return [row["lane"] for row in oldest[:limit]]


def pending_creation(user: User, name: str, id_: UUID) -> Step | None:
    """
    Return the pending step of the user's that will create this id; None: there is none.

    ``name`` is that of the typed id, such as ``chapterId``: what will be something else is not meant.
    """
    steps = Step.objects.filter(creates=id_, operation__user=user, status=StepStatus.PENDING)
    return steps.filter(**{f"subject__{name}": str(id_)}).first()


def pending_creations(lane: str, name: str, ids: Collection[UUID]) -> set[UUID]:
    """Return those of the ids that pending steps of a lane will create; ``name`` as for `pending_creation`."""
    steps = Step.objects.filter(lane=lane, status=StepStatus.PENDING, creates__in=ids)
    return {id_ for id_, subject in steps.values_list("creates", "subject") if id_ and subject.get(name) == str(id_)}


def lanes_creating(ids: Collection[UUID]) -> list[str]:
    """Name the lanes in which pending steps will create any of these ids."""
    steps = Step.objects.filter(status=StepStatus.PENDING, creates__in=ids)
    return sorted(set(steps.values_list("lane", flat=True)))


def failed_creations(ids: Iterable[UUID]) -> set[UUID]:
    """Return those of the ids whose creation failed, and did not succeed when it was tried again."""
    failed = Step.objects.filter(creates__in=set(ids), status=StepStatus.FAILED).values_list("creates", flat=True)
    return {id_ for id_ in failed if id_} - created(ids)


def created(ids: Iterable[UUID]) -> set[UUID]:
    """Return those of the ids that steps have brought into being, whether or not they are there any more."""
    done = Q(status=StepStatus.SUCCEEDED) | Q(has_begun=True)
    return {id_ for id_ in Step.objects.filter(done, creates__in=set(ids)).values_list("creates", flat=True) if id_}


def has_pending(lane: str) -> bool:
    """Say whether a lane has steps that have not run yet."""
    found = sql.rows("SELECT EXISTS (SELECT FROM operations_step WHERE lane = %s AND status = 'pending')", [lane])
    return bool(found[0][0])


def backlog_metrics() -> Iterable[Metric]:
    """Yield what waits to be done, as metrics."""
    pending: dict[str, Any] = Step.objects.filter(status=StepStatus.PENDING).aggregate(
        count=Count("id"), oldest=Min("created_at")
    )
    age = (clock.now() - pending["oldest"]).total_seconds() if pending["oldest"] else 0.0
    yield GaugeMetricFamily("coursehub_steps_pending", "Steps that have not run yet.", pending["count"])
    yield GaugeMetricFamily("coursehub_steps_oldest_pending_seconds", "Age of the oldest of them.", max(age, 0.0))
    unfinished = Operation.objects.filter(finished_at=None).count()
    yield GaugeMetricFamily("coursehub_operations_unfinished", "Operations that have not ended yet.", unfinished)
