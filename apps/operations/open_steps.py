"""
Open steps: those that run on after their lane has begun them, until their owner ends them.

An owner is registered by the app whose handler gives open outcomes. Lock order: pending steps, what the owner locks for
its records, running steps, the operation.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from apps.operations.lanes import Outcome
from apps.operations.models import Step, StepStatus


class Owner(Protocol):
    """Whoever ends the open steps of one action."""

    def cancelled(self, steps: Sequence[Step], now: datetime) -> list[Outcome]:
        """
        Let go of running steps, and of pending ones that will not be run, within the caller's transaction.

        Locks what they are about, then those that run (`lock`), and returns a failed outcome for each of these.
        """

    def retried(self, steps: Sequence[Step], now: datetime) -> list[Step]:
        """Make failed steps ready to be done again, by new steps of the same payload; returns those that cannot be."""


_owners: dict[str, Owner] = {}


def register(action: str, owner: Owner) -> None:
    """Say who ends the open steps of an action."""
    _owners[action] = owner


def by_owner(steps: Iterable[Step]) -> list[tuple[Owner, list[Step]]]:
    """Sort steps by their owners; those that have none are left out."""
    owned: dict[Owner, list[Step]] = {}
    for step in steps:
        if step.action in _owners:
            owned.setdefault(_owners[step.action], []).append(step)
    return list(owned.items())


def lock(ids: Iterable[int]) -> list[Step]:
    """
    Lock those of the begun steps that have not ended, in the order of ids, with their operations.

    One that its lane begins in this transaction is still pending in the database.
    """
    begun = Step.objects.filter(pk__in=list(ids), status__in=[StepStatus.PENDING, StepStatus.RUNNING])
    return list(begun.select_related("operation").select_for_update(no_key=True, of=("self",)).order_by("id"))


def note_progress(step_id: int, percent: int) -> None:
    """Keep how far an open step is, for those who ask; never goes back."""
    Step.objects.filter(pk=step_id, status=StepStatus.RUNNING, progress__lt=percent).update(progress=percent)
