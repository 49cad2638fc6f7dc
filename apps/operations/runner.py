"""Running the steps of a lane: oldest first, many in one transaction, one runner at a time."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from psycopg.errors import LockNotAvailable

from apps.accounts.models import User
from apps.core import clock, logs, sql
from apps.operations import hints, lanes, lifecycle, selectors
from apps.operations.lanes import Outcome
from apps.operations.models import Operation, Step

log = logging.getLogger(__name__)

STEPS_AT_ONCE = 2_000


def run_lane(lane: str, *, for_seconds: float | None = None) -> bool:
    """
    Run the pending steps of a lane until there are none, or the time is over; True: there are some left.

    Whoever finds the lane taken leaves at once; the one that has it looks again after letting go, so no step is missed.
    """
    began = time.monotonic()
    while _run_batch(lane):
        if for_seconds is not None and time.monotonic() - began >= for_seconds:
            return True
    return False


def take_turn(lane: str, seconds: float) -> None:
    """
    Run a lane for a while, and hint at it again if that was not enough.

    One with much to do must not keep those behind it waiting.
    """
    if run_lane(lane, for_seconds=seconds):
        hints.send([lane])


def _run_batch(lane: str) -> bool:
    """Run one batch in one transaction; says whether there is more to do that nobody else is at."""
    return _run_or_go_before(lane) and selectors.has_pending(lane)


def _run_or_go_before(lane: str, *, waits: bool = False) -> bool:
    """Run a batch, or one of the lane that must go before it; False: someone else has that. ``waits``: for them."""
    try:
        return _run_or_split(lane, waits)
    except lanes.Behind as behind:
        return _run_or_go_before(behind.lane, waits=True)


def _run_or_split(lane: str, waits: bool) -> bool:
    """Run a batch. Should it crash, it is run again with each step standing alone, so that only the culprit fails."""
    try:
        return _run_oldest(lane, _all_at_once, waits)
    except _NOT_THE_STEPS_FAULT:
        raise
    except Exception:
        log.exception("A batch of steps crashed; running them one by one.", extra={"lane": lane})
        return _run_oldest(lane, _one_by_one, waits)


_NOT_THE_STEPS_FAULT = (OperationalError, InterfaceError, lanes.Behind)
"""The database is away, or wants the transaction again, or another lane is to be run before."""


@transaction.atomic
def _run_oldest(lane: str, run: "Way", waits: bool) -> bool:
    """Take the lane and run its oldest steps in one of two ways; False: someone else has it."""
    if waits and not _wait_for(lane):
        return False
    began = time.monotonic()
    steps = _take_oldest(lane)
    if steps:
        taken = len(steps)
        transaction.on_commit(lambda: lanes.note_pace(lane, taken, time.monotonic() - began))
        _run(lane, steps, run)
    return steps is not None


def _wait_for(lane: str) -> bool:
    """
    Wait for whoever has a lane; False: they did not let go in time.

    They may be frozen, or cut off, and whoever waited for them without end would be lost for all other lanes.
    """
    try:
        with transaction.atomic():
            sql.execute("SET LOCAL lock_timeout TO '1s'", [])
            sql.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [lane])
            sql.execute("SET LOCAL lock_timeout TO DEFAULT", [])
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            return False
        raise
    return True


def _take_oldest(lane: str) -> list[Step] | None:
    """
    Take the right to run a lane until the end of the transaction, and lock and load its oldest steps.

    Those of an atomic request are never torn apart. None: someone else has the lane.
    """
    most = lanes.steps_at_once(lane, STEPS_AT_ONCE)
    found = sql.instances(Step, _TAKE_OLDEST.format(more=""), [lane, lane, most])
    if not found[0].lane_taken:  # type: ignore[attr-defined]
        return None
    steps = [step for step in found if step.pk]
    group = steps[-1].atomic_group if len(steps) == most else None
    if group is not None:
        rest = _TAKE_OLDEST.format(more="AND atomic_group = %s AND id > %s")
        found = sql.instances(Step, rest, [lane, lane, group, steps[-1].pk, None])
        steps += [step for step in found if step.pk]
    _attach_operations(steps)
    return steps


def _attach_operations(steps: Sequence[Step]) -> None:
    """Give each step its operation: of that only the key and the user are loaded, of the user whether they may act."""
    operations: dict[UUID, Operation] = {}
    for step in steps:
        if step.operation_id not in operations:
            row: Any = step
            user = User(id=row.user_id, is_active=row.by_active_user)
            operations[step.operation_id] = Operation(id=step.operation_id, key=row.operation_key, user=user)
        step.operation = operations[step.operation_id]


# The steps are as they were when the statement began. One that somebody ran since, before letting go of the lane, is
# found not to be pending any more when it is locked, and left out.
_TAKE_OLDEST = """
    WITH lane AS MATERIALIZED (
        SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 1)) AS taken
    ), oldest AS (
        SELECT * FROM operations_step
        WHERE (SELECT taken FROM lane) AND lane = %s AND status = 'pending' {more}
        ORDER BY id LIMIT %s FOR NO KEY UPDATE
    )
    SELECT lane.taken AS lane_taken, oldest.*, operation.key AS operation_key, operation.user_id,
        owner.is_active AS by_active_user
    FROM lane LEFT JOIN oldest ON true
    LEFT JOIN operations_operation operation ON operation.id = oldest.operation_id
    LEFT JOIN accounts_user owner ON owner.id = operation.user_id
    ORDER BY oldest.id
"""


def _run(lane: str, steps: Sequence[Step], run: "Way") -> None:
    now = clock.now()
    operations = sorted({step.operation.key for step in steps})
    with logs.context(lane=lane, operationId=" ".join(operations[:10])):
        outcomes = run(lane, steps, now)
        lifecycle.conclude(outcomes, now=now)
    failed = sum(outcome.error is not None for outcome in outcomes)
    said = {"lane": lane, "operationId": " ".join(operations[:10]), "steps": len(steps), "failed": failed}
    transaction.on_commit(lambda: log.info("steps ended", extra=said))


Way = Callable[[str, Sequence[Step], datetime], list[Outcome]]


def _all_at_once(lane: str, steps: Sequence[Step], now: datetime) -> list[Outcome]:
    return lanes.handler_of(lane).run(lane, steps, now)


def _one_by_one(lane: str, steps: Sequence[Step], now: datetime) -> list[Outcome]:
    return [outcome for unit in _units(steps) for outcome in _run_unit(lane, unit, now)]


def _units(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Split steps into what stands or falls together: an atomic request, or a single step."""
    for _, unit in groupby(steps, key=lambda step: ("group", step.atomic_group) if step.atomic_group else step.pk):
        yield list(unit)


def _run_unit(lane: str, unit: Sequence[Step], now: datetime) -> list[Outcome]:
    try:
        with transaction.atomic():
            outcomes = lanes.handler_of(lane).run(lane, unit, now)
            _check_constraints()
            return outcomes
    except _NOT_THE_STEPS_FAULT:
        raise
    except Exception:
        log.exception("A step crashed.")
        return lifecycle.crashed(unit)


def _check_constraints() -> None:
    """Have deferred constraints checked here, where the culprit is known, instead of at the commit."""
    sql.execute("SET CONSTRAINTS ALL IMMEDIATE", [])
    sql.execute("SET CONSTRAINTS ALL DEFERRED", [])
