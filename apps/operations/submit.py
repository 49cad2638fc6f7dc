"""Taking a request: store its steps, answer, and have them run."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from django.db import IntegrityError, transaction

from apps.accounts.models import User
from apps.core import clock, errors, ids, logs, sql
from apps.operations import hints, lanes
from apps.operations.models import Operation, Request, Status, Step
from broadcast.contracts import topics

SAVE = "save"
"""The kind of an operation that began with a consolidated save; any other's kind is its first step's action."""

BATCH_KINDS = {SAVE}
"""The kinds of operations whose end has an event of its own whatever their size, retries too; apps above add theirs."""


@dataclass(frozen=True, slots=True)
class Identity:
    """How a request names itself: its operation, itself within it, and how many steps will come in all."""

    operation_key: str | None = None
    request_key: str = "1"
    expect: int | None = None
    idempotency_header_only: bool = False

    def key_for(self, user: User) -> str:
        """
        Give the operationId: the client's, or a new one.

        An ``Idempotency-Key`` without an operationId always leads to the same one, so that it does what clients of
        other services know it for.
        """
        if self.operation_key is not None:
            return self.operation_key
        if self.idempotency_header_only:
            return str(uuid5(user.pk, self.request_key))
        return str(ids.new_id())


@dataclass(frozen=True, slots=True)
class NewStep:
    """
    A step as an app above asks for it; fields as in `models.Step`. ``key`` None: the request's own.

    Those next to each other of one ``group`` (not None) succeed or fail together.
    """

    action: str
    lane: str
    topic: str
    payload: Mapping[str, Any]
    subject: Mapping[str, Any] = field(default_factory=dict)
    creates: UUID | None = None
    temp_id: str = ""
    key: str | None = None
    group: int | None = None


def again(step: Step, *, key: str | None = None, group: int | None = None) -> NewStep:
    """Ask for a step once more."""
    return NewStep(
        action=step.action,
        lane=step.lane,
        topic=step.topic,
        payload=step.payload,
        subject=step.subject,
        creates=step.creates,
        temp_id=step.temp_id,
        key=key,
        group=group,
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request asks for: its steps, and what its answer says about them."""

    kind: str
    steps: Sequence[NewStep]
    data: Mapping[str, Any]
    is_batch: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a request: the operationId and the data."""

    operation_key: str
    data: Mapping[str, Any]


def fingerprint(*, method: str, path: str, body: Mapping[str, Any], expect: int | None = None) -> str:
    """
    Digest what a request says, apart from how it names itself; equal for equal JSON values.

    ``expect`` is the number it gives, in its body or its header.
    """
    said = {name: value for name, value in body.items() if name not in ("operationId", "expect", "stepId")}
    canonical = json.dumps([method, path, said, expect], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def replay(user: User, identity: Identity, digest: str) -> Accepted | None:
    """
    Give the first answer to a request that was taken before; None: it is new.

    Raises:
        errors.IdempotencyMismatch: its key was used, with another body.
    """
    if identity.operation_key is None and not identity.idempotency_header_only:
        return None
    key = identity.key_for(user)
    request = Request.objects.filter(operation__user=user, operation__key=key, key=identity.request_key).first()
    return _first_answer(request, key, digest) if request else None


def once(user: User, identity: Identity, digest: str, take: Callable[[], Accepted]) -> Accepted:
    """
    Give the first answer to a request that was taken before, otherwise have it taken.

    One that is refused may have been taken by another thread meanwhile, and be refused because of its own effects (what
    it deletes is gone): then it gets that first answer too.
    """
    accepted = replay(user, identity, digest)
    if accepted:
        return accepted
    try:
        return take()
    except errors.CourseHubError:
        accepted = replay(user, identity, digest)
        if accepted:
            return accepted
        raise


def submit(user: User, identity: Identity, digest: str, plan: Plan) -> Accepted:
    """
    Store a request's steps. They run soon, in the order of submission within each lane.

    Raises:
        errors.IdempotencyMismatch: the request's or a step's key was used with another body, or ``expect`` differs.
        errors.Conflict: the operation ended, or it expects fewer steps.
        errors.Invalid: one of its tempIds was given by another request of the operation.
    """
    key = identity.key_for(user)
    logs.add(operationId=key)
    request = _Request(identity, digest, plan, clock.now(), sorted({step.lane for step in plan.steps}))
    if not _begin(user, key, request):
        first_answer = _join(user, key, request)
        if first_answer:
            return first_answer
    transaction.on_commit(lambda: hints.send(request.lanes))
    return Accepted(key, plan.data)


@dataclass(frozen=True, slots=True)
class _Request:
    """A request on its way into the database."""

    identity: Identity
    digest: str
    plan: Plan
    now: datetime
    lanes: Sequence[str]


def _first_answer(request: Request, operation_key: str, digest: str) -> Accepted:
    if request.fingerprint != digest:
        raise errors.IdempotencyMismatch
    return Accepted(operation_key, request.answer)


def _begin(user: User, key: str, request: _Request) -> bool:
    """
    Make the operation, with its request and steps, by a single statement; False: there is one of this key.

    The statement takes the lanes first of all, so the steps get their ids while it holds them (see `lanes.queue_up`).
    """
    plan, now = request.plan, request.now
    expected = request.identity.expect or len(plan.steps)
    if len(plan.steps) > expected:
        raise errors.Conflict("These are more steps than the operation expects.", expected=expected)
    named = [ids.new_id(), user.pk, key, plan.kind, Status.PENDING]
    counted = [plan.is_batch or expected > 1, expected, len(plan.steps)]
    topic = _topic(user, {step.topic for step in plan.steps})
    return bool(sql.rows(_BEGIN, [request.lanes, *named, *counted, topic, now, now, *_contents(request)]))


@transaction.atomic
def _join(user: User, key: str, request: _Request) -> Accepted | None:
    """Add a further request to an operation that is under way; if it is there already, give its first answer."""
    lanes.queue_up(request.lanes)
    operation = Operation.objects.select_for_update(no_key=True).get(user=user, key=key)
    known = operation.requests.filter(key=request.identity.request_key).first()
    if known:
        return _first_answer(known, key, request.digest)
    _expect_more(operation, request)
    _check_temp_ids(user, key, request.plan.steps)
    try:
        sql.execute(_ADD, [operation.id, *_contents(request)])
    except IntegrityError:
        raise errors.IdempotencyMismatch("One of these stepIds was used before in this operation.") from None
    return None


def _check_temp_ids(user: User, key: str, steps: Sequence[NewStep]) -> None:
    """Refuse a tempId that stands for something else in the operation already; a step tried again keeps its own."""
    known = temp_ids(user, key, {step.temp_id for step in steps if step.temp_id})
    if any(known.get(step.temp_id, step.creates) != step.creates for step in steps):
        raise errors.Invalid("A tempId is given twice.", fields={"tempId": ["This tempId is taken."]})


def _expect_more(operation: Operation, request: _Request) -> None:
    """Have an operation expect a request's steps among those it expects, unless it does not."""
    expect, steps = request.identity.expect, request.plan.steps
    if operation.finished_at:
        raise errors.Conflict("This operation has ended.", status=operation.status)
    if expect is not None and expect != operation.expected:
        raise errors.IdempotencyMismatch("Another request of this operation expects another number of steps.")
    if operation.registered + len(steps) > operation.expected:
        raise errors.Conflict("These are more steps than the operation expects.", expected=operation.expected)
    operation.registered += len(steps)
    operation.topic = _topic(operation.user, {operation.topic, *(step.topic for step in steps)})
    operation.last_request_at = request.now
    operation.save(update_fields=["registered", "topic", "last_request_at"])


def _topic(user: User, named: set[str]) -> str:
    """Find where an operation's end is told: the one topic of its steps, otherwise its submitter's own."""
    return named.pop() if len(named) == 1 else topics.user(user.pk)


def _contents(request: _Request) -> list[Any]:
    """List the values of a request and its steps, as `_CONTENTS` wants them."""
    key, plan = request.identity.request_key, request.plan
    return [key, request.digest, json.dumps(plan.data), request.now, *_columns(plan.steps, key)]


def _columns(steps: Sequence[NewStep], request_key: str) -> list[list[Any]]:
    rows = (
        (
            step.key or request_key,
            step.action,
            step.lane,
            step.topic,
            json.dumps(step.payload),
            json.dumps(step.subject),
            step.creates,
            step.temp_id,
            step.group,
        )
        for step in steps
    )
    return sql.columns(list(rows))


def temp_ids(user: User, operation_key: str | None, names: set[str]) -> dict[str, UUID]:
    """Return what earlier requests of an operation assigned to tempIds."""
    known = {name for name in names if "\x00" not in name}
    if operation_key is None or not known:
        return {}
    steps = Step.objects.filter(operation__user=user, operation__key=operation_key, temp_id__in=known)
    return {step.temp_id: step.creates for step in steps.order_by("id") if step.creates}


_CONTENTS = """
    request AS (
        INSERT INTO operations_request (operation_id, key, fingerprint, answer)
        SELECT id, %s, %s, %s::jsonb FROM operation RETURNING id, operation_id
    ), steps AS (
        INSERT INTO operations_step (operation_id, key, action, lane, topic, payload, subject, creates, temp_id,
            atomic_group, status, created_at)
        SELECT request.operation_id, step.key, action, lane, topic, payload::jsonb, subject::jsonb, creates, temp_id,
            request.id * 10000 + step."group", 'pending', %s
        FROM request, unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::uuid[],
            %b::text[], %b::int[])
            WITH ORDINALITY AS step(key, action, lane, topic, payload, subject, creates, temp_id, "group", place)
        ORDER BY place
    )
"""
_BEGIN = f"""
    WITH lanes AS MATERIALIZED (
        SELECT count(pg_advisory_xact_lock(hashtextextended(name, 2))) FROM unnest(%b::text[]) AS lane(name)
    ), operation AS (
        INSERT INTO operations_operation (id, user_id, key, kind, status, is_batch, expected, registered, succeeded,
            failed, topic, created_at, last_request_at)
        SELECT %s, %s, %s, %s, %s, %s, %s, %s, 0, 0, %s, %s, %s FROM lanes
        ON CONFLICT (user_id, key) DO NOTHING RETURNING id
    ), {_CONTENTS}
    SELECT id FROM operation
"""  # noqa: S608 (no values in it)
_ADD = f"WITH operation AS (SELECT %s::uuid AS id), {_CONTENTS} SELECT 1"
