"""The lane of the check, and the user whose topic its event goes to."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import celery
from django.db import transaction

from apps.accounts.models import User
from apps.operations import lanes, submit
from apps.operations.lanes import Outcome
from apps.operations.models import Operation, Step
from apps.outbox.models import DeliveryCursor, OutboxEvent
from broadcast.contracts import topics

KIND = "delivery-check"
WORKER, RELAY = "worker", "relay"

USERNAME = "delivery check"
"""With a space, so that nobody can register it."""
_ID = UUID("6d4be7c0-5c1c-5c8e-9c6f-64656c697665")


class CheckLanes:
    """Runs the steps of checks: each succeeds, writes nothing, and says who ran it and since when."""

    def is_there(self, lane: str) -> bool:  # noqa: ARG002
        return True

    def check(self, lane: str, user: User, steps: Sequence[Step]) -> None:
        """Nobody loses the right to ask for it."""

    def run(self, lane: str, steps: Sequence[Step], now: datetime) -> list[Outcome]:  # noqa: ARG002
        data = {"ranBy": WORKER if celery.current_task else RELAY, "beganAt": now.isoformat()}
        return [Outcome(step, step.topic, data=data) for step in steps]


def register() -> None:
    """Have steps of checks run by `CheckLanes`."""
    lanes.register(KIND, CheckLanes())


def user() -> User:
    """Find, or make, the user of the checks; nobody can sign in as them."""
    found, made = User.objects.get_or_create(pk=_ID, defaults={"username": USERNAME})
    if made:
        found.set_unusable_password()
        found.save(update_fields=["password"])
    return found


def begin(asker: User) -> str:
    """Submit an operation of one step; returns its operationId. Its end has an event on the user's topic."""
    key = f"check-{uuid4()}"
    topic = topics.user(asker.pk)
    # A lane of its own for each check: one that is stuck does not hold up the next.
    step = submit.NewStep(action="delivery.check", lane=f"{KIND}:{key}", topic=topic, payload={})
    plan = submit.Plan(kind=KIND, steps=[step], data={}, is_batch=True)
    submit.submit(asker, submit.Identity(operation_key=key), "", plan)
    return key


@transaction.atomic
def forget(asker: User, operation_key: str) -> None:
    """Delete an operation of `begin`, whether it ended or not, and what the user's topic has delivered."""
    Operation.objects.filter(user=asker, key=operation_key).delete()
    topic = topics.user(asker.pk)
    cursor: Any = DeliveryCursor.objects.filter(topic=topic).values("delivered_seq")
    OutboxEvent.objects.filter(topic=topic, seq__lte=cursor).delete()
