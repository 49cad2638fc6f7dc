"""
Who wants to know when a course, chapter or video goes or returns.

Apps above register; they are told within the transaction that deletes or restores, with the course locked, and give
back the events that come of it. A chapter's going stands for that of its videos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from apps.operations.models import Step
from apps.outbox.emit import Draft


@dataclass(frozen=True, slots=True)
class Going:
    """
    What is about to be deleted, each with the step that does it: the rows are still there.

    ``course`` None: the course itself stays.
    """

    course_id: UUID
    course: Step | None
    chapters: Mapping[UUID, Step]
    videos: Mapping[UUID, Step]


class Listener(Protocol):
    """Someone who uses courses, chapters or videos for something."""

    def going(self, what: Going, now: datetime) -> Sequence[tuple[Step, Draft]]:
        """Prepare for it; returns the events to be sent, each with the step that led to it."""

    def returned(self, course_id: UUID, step: Step, now: datetime) -> Sequence[Draft]:
        """Restore what went with a course, which is there again; returns the events to be sent."""


_listeners: list[Listener] = []


def register(listener: Listener) -> None:
    """Tell one more."""
    _listeners.append(listener)


def tell_going(what: Going, now: datetime) -> list[tuple[Step, Draft]]:
    """Tell everyone what is about to go."""
    return [told for listener in _listeners for told in listener.going(what, now)]


def tell_returned(course_id: UUID, step: Step, now: datetime) -> list[tuple[Step, Draft]]:
    """Tell everyone that a course is there again."""
    return [(step, draft) for listener in _listeners for draft in listener.returned(course_id, step, now)]
