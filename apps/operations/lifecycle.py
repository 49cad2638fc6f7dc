"""The end of steps and of operations: each exactly once, in the transaction that brings it about."""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.core import errors, sql
from apps.operations import lanes, waiting
from apps.operations.errors import Cancelled, Crashed, Incomplete, RolledBack
from apps.operations.lanes import Outcome
from apps.operations.models import Operation, Status, Step, StepStatus
from apps.outbox.emit import Also, Draft, emit
from broadcast.contracts import events, topics

RESULTS_MAX = 50
"""A batch's event lists all results up to this number; beyond it, only failed ones, and no more than this."""


def conclude(outcomes: Sequence[Outcome], *, now: datetime) -> None:
    """
    Write what became of steps, tell it, and end the operations that are thereby complete.

    The last act before the commit, because it takes seqs. The steps must be locked by the caller, and pending or (open
    ones) running. A step that begins and ends in one transaction has two outcomes, in this order.
    """
    if not outcomes:
        return
    operations = _write_steps(outcomes, now)
    told = [(outcome.step.operation_id, draft) for outcome in outcomes for draft in _drafts(outcome)]
    for outcome in outcomes:
        if not outcome.open:
            _count(operations[outcome.step.operation_id], outcome, now)
    _finish(list(operations.values()), told, now)


def cancel(operation: Operation, steps: Sequence[Step], ended: Sequence[Outcome] = (), *, now: datetime) -> None:
    """
    End a locked operation whose pending steps, all of them given and locked, are not to be run.

    ``ended`` are the outcomes of its open steps, whose owners let go of them. What has begun is told when it fails;
    what has not is not.
    """
    error = Cancelled().as_dict()
    _write_steps([*(Outcome(step, step.topic, error=error, silent=True) for step in steps), *ended], now)
    if steps and operation.topic == steps[0].topic:
        operation.topic = _told_at(steps[0])
    _end_early(
        operation, Cancelled(), Status.CANCELLED, now, [draft for outcome in ended for draft in _drafts(outcome)]
    )


def give_up(operation: Operation, *, now: datetime) -> None:
    """End a locked operation without pending steps although more were expected: the missing ones count as failed."""
    _end_early(operation, Incomplete(), operation.status, now)


def _end_early(
    operation: Operation, error: errors.CourseHubError, status: str, now: datetime, drafts: Sequence[Draft] = ()
) -> None:
    operation.failed = operation.expected - operation.succeeded
    operation.error = error.as_dict()
    operation.status = status
    _finish([operation], [(operation.pk, draft) for draft in drafts], now)


def crashed(unit: Sequence[Step]) -> list[Outcome]:
    """
    Make the outcomes of steps that failed together for a reason of ours; the log has the traceback.

    Which of an atomic request's steps it was is not known: the first stands for all.
    """
    first, *others = unit
    rolled_back = RolledBack().as_dict()
    return [
        Outcome(first, _told_at(first), error=Crashed().as_dict()),
        *(Outcome(step, _told_at(step), error=rolled_back, silent=True) for step in others),
    ]


def _told_at(step: Step) -> str:
    """Find where a step's failure is told: what never came to be has no listeners but its submitter."""
    return step.topic if lanes.is_there(step.lane) else topics.user(step.operation.user_id)


def _write_steps(outcomes: Sequence[Outcome], now: datetime) -> dict[UUID, Operation]:
    """Write what became of steps, of each its last outcome; returns their operations, locked."""
    if not outcomes:
        return {}
    begun = [outcome.step.pk for outcome in outcomes if outcome.open]
    outcomes = list({outcome.step.pk: outcome for outcome in outcomes}.values())
    statuses = [_step_status(outcome) for outcome in outcomes]
    data = [json.dumps(outcome.data) if not outcome.error else None for outcome in outcomes]
    failures = [json.dumps(outcome.error) if outcome.error else None for outcome in outcomes]
    steps = [outcome.step.pk for outcome in outcomes]
    operations = list({outcome.step.operation_id for outcome in outcomes})
    locked = sql.instances(Operation, _WRITE_STEPS, [now, begun, steps, statuses, data, failures, operations])
    return {operation.pk: operation for operation in locked}


def _step_status(outcome: Outcome) -> str:
    if outcome.error:
        return StepStatus.FAILED
    return StepStatus.RUNNING if outcome.open else StepStatus.SUCCEEDED


def _drafts(outcome: Outcome) -> Sequence[Draft]:
    if outcome.error is None:
        return outcome.drafts
    if outcome.silent:
        return ()
    step = outcome.step
    data = {"stepId": step.key, "action": step.action, "error": outcome.error, **step.subject, **outcome.data}
    return [Draft(events.OPERATION_FAILED, outcome.topic, step.operation.key, data)]


def _count(operation: Operation, outcome: Outcome, now: datetime) -> None:
    if outcome.step.status == StepStatus.RUNNING:
        # It has been at work until now: the steps that are still to come have their whole time from here.
        operation.last_request_at = now
    if outcome.error is None:
        operation.succeeded += 1
    else:
        operation.failed += 1
        if not outcome.silent:  # What was rolled back failed because of another.
            operation.error = operation.error or dict(outcome.error)
    if outcome.topic != operation.topic:
        operation.topic = topics.user(operation.user_id)


def _finish(operations: Sequence[Operation], told: Sequence[tuple[UUID, Draft]], now: datetime) -> None:
    """Save the operations; those that are complete end, with their event where they have one."""
    complete = [operation for operation in operations if operation.ended >= operation.expected]
    for operation in operations:
        operation.status = _status(operation)
    results = _results([operation for operation in complete if operation.is_batch])
    ends = [
        (operation.pk, _completion(operation, results[operation.pk])) for operation in complete if operation.is_batch
    ]
    for operation in complete:
        operation.finished_at = now
    _tell([*told, *ends], operations, now)
    if complete:
        transaction.on_commit(lambda: waiting.announce([operation.pk for operation in complete]))


def _tell(told: Sequence[tuple[UUID, Draft]], operations: Sequence[Operation], now: datetime) -> None:
    """Emit events, and write the operations; those that end keep the last seq that they took in their topic."""
    last = {(operation_id, draft.topic): place for place, (operation_id, draft) in enumerate(told, start=1)}
    rows = [
        (
            *(o.pk, o.status, o.succeeded, o.failed, o.topic, last.get((o.pk, o.topic)) if o.finished_at else None),
            *(json.dumps(o.error) if o.error else None, o.finished_at, o.last_request_at),
        )
        for o in operations
    ]
    emit([draft for _, draft in told], now=now, also=Also(_WRITE_OPERATIONS, sql.columns(rows)))


def _status(operation: Operation) -> str:
    if operation.status == Status.CANCELLED:
        return Status.CANCELLED
    if operation.ended < operation.expected:
        return Status.RUNNING
    if not operation.failed:
        return Status.SUCCEEDED
    return Status.PARTIAL if operation.succeeded else Status.FAILED


def _completion(operation: Operation, results: list[dict[str, Any]]) -> Draft:
    data: dict[str, Any] = {
        "operationId": operation.key,
        "status": operation.status,
        "succeeded": operation.succeeded,
        "failed": operation.failed,
        "results": results,
    }
    if operation.expected > RESULTS_MAX:
        data["truncated"] = True
    return Draft(events.BATCH_COMPLETED, operation.topic, operation.key, data)


def _results(operations: Sequence[Operation]) -> dict[UUID, list[dict[str, Any]]]:
    """List each operation's results for its event."""
    results: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    few = [operation.pk for operation in operations if operation.expected <= RESULTS_MAX]
    for step in Step.objects.filter(operation__in=few).order_by("id") if few else ():
        results[step.operation_id].append(_result(step))
    for operation in operations:
        if operation.expected > RESULTS_MAX and operation.failed:
            failed = operation.steps.filter(status=StepStatus.FAILED).order_by("id")[:RESULTS_MAX]
            results[operation.pk] = [_result(step) for step in failed]
    return results


def _result(step: Step) -> dict[str, Any]:
    """Say what became of a step, but for its error's lists: the step's own event has them, and 50 would be too long."""
    error = step.error and {name: value for name, value in step.error.items() if not isinstance(value, list)}
    return {"stepId": step.key, "action": step.action, "status": step.status, **step.subject, "error": error}


_WRITE_STEPS = """
    WITH written AS (
        UPDATE operations_step step
        SET status = ended.status, data = ended.data::jsonb, error = ended.error::jsonb,
            finished_at = CASE WHEN ended.status <> 'running' THEN %s END,
            has_begun = step.has_begun OR step.id = ANY(%b::bigint[])
        FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::text[]) AS ended(id, status, data, error)
        WHERE step.id = ended.id
    )
    SELECT * FROM operations_operation WHERE id = ANY(%b) ORDER BY id FOR NO KEY UPDATE
"""
_WRITE_OPERATIONS = """
    UPDATE operations_operation operation
    SET status = now.status, succeeded = now.succeeded, failed = now.failed, topic = now.topic, seq = event.seq,
        error = now.error::jsonb, finished_at = now.finished_at, last_request_at = now.last_request_at
    FROM unnest(%b::uuid[], %b::text[], %b::int[], %b::int[], %b::text[], %b::int[], %b::text[], %b::timestamptz[],
        %b::timestamptz[]) AS now(id, status, succeeded, failed, topic, last, error, finished_at, last_request_at)
        LEFT JOIN event ON event.place = now.last
    WHERE operation.id = now.id
"""
