"""A lane of the tests' own: what a step does is said in the step, and nothing is written but events."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.db import OperationalError

from apps.accounts.models import User
from apps.core import errors
from apps.operations import submit
from apps.operations.lanes import Outcome
from apps.operations.models import Operation, Step
from apps.outbox.emit import Draft
from broadcast.contracts import topics

LANE, OTHER_LANE = "note:1", "note:2"
COURSE = "course:01900000-0000-7000-8000-00000000000a"
OTHER_COURSE = "course:01900000-0000-7000-8000-00000000000b"


class Notes:
    """
    Runs the steps of lanes of the kind ``note``. Each does what it says: ``succeed``, ``fail``, ``crash``, ``lose``
    (the database) or ``open``. ``runs`` are the steps of each call; ``meanwhile`` is done at the beginning of each.
    """

    def __init__(self) -> None:
        self.runs: list[list[str]] = []
        self.meanwhile: Callable[[list[str]], object] = lambda keys: None

    def is_there(self, lane: str) -> bool:
        return True

    def check(self, lane: str, user: User, steps: Sequence[Step]) -> None:
        pass

    def run(self, lane: str, steps: Sequence[Step], now: datetime) -> list[Outcome]:
        keys = [step.key for step in steps]
        self.runs.append(keys)
        self.meanwhile(keys)
        return [self._run(step) for step in steps]

    def _run(self, step: Step) -> Outcome:
        does = step.payload["does"]
        if does == "crash":
            raise ZeroDivisionError
        if does == "lose":
            raise OperationalError("the server closed the connection unexpectedly")
        if does == "fail":
            return Outcome(step, step.topic, error=errors.Conflict("As it was told.").as_dict())
        if does == "open":
            begun = Draft("note-create-complete", step.topic, step.operation.key, {"stepId": step.key})
            return Outcome(step, step.topic, data={"begun": True}, drafts=[begun], open=True)
        draft = Draft("note-complete", step.topic, step.operation.key, {"stepId": step.key})
        return Outcome(step, step.topic, data={"noted": True}, drafts=[draft])


def plan(*does: str, lane: str = LANE, topic: str = COURSE, **more: Any) -> submit.Plan:
    """Plan a step for each thing to do; more than one have keys of their own, ``<request>.<index>`` as in a save."""
    prefix, atomic = more.pop("prefix", "1"), more.pop("atomic", False)
    steps = [
        submit.NewStep(
            action="note.write",
            lane=lane,
            topic=topic,
            payload={"does": done},
            subject={"noteId": f"n{index}"},
            key=None if len(does) == 1 else f"{prefix}.{index}",
            group=0 if atomic else None,
        )
        for index, done in enumerate(does)
    ]
    return submit.Plan(kind="note.write", steps=steps, data={"noteId": "n0"}, **more)


def ask(user: User, *does: str, key: str = "op", request: str = "1", expect: int | None = None, **more: Any) -> str:
    """Submit a request; returns its operationId."""
    identity = submit.Identity(key, request, expect)
    digest = submit.fingerprint(method="POST", path="notes/", body={"does": does})
    return submit.submit(user, identity, digest, plan(*does, prefix=request, **more)).operation_key


def operation(key: str = "op") -> Operation:
    return Operation.objects.get(key=key)


def outcomes(key: str = "op") -> dict[str, str]:
    """What became of each step: its status, or its error's code."""
    steps = Step.objects.filter(operation__key=key).order_by("id")
    return {step.key: step.error["code"] if step.error else step.status for step in steps}


def own_topic(user: User) -> str:
    return topics.user(user.pk)
