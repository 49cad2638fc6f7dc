"""
Lanes: queues of steps that must run one after another.

A lane is named like a topic (``course:<id>``). Each kind of lane has a handler, registered by the app that owns it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from apps.accounts.models import User
from apps.core import sql
from apps.operations.models import Step
from apps.operations.pace import Pace
from apps.outbox.emit import Draft

COURSE = "course"
USER = "user"


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of one step.

    ``error``, when it failed, is the contract's error object. ``topic`` is where its failure, or its operation's end,
    is told; ``drafts`` are the events of its success. A ``silent`` failure has no event. ``data`` is kept with a
    success, for REST; with a failure it is said in the event.

    An ``open`` outcome is a beginning: its events are sent, its data is kept, and the step runs on until its owner ends
    it, by `lifecycle.conclude` and an outcome that is not open. It holds up no other step of its lane.
    """

    step: Step
    topic: str
    data: Mapping[str, Any] = field(default_factory=dict)
    drafts: Sequence[Draft] = ()
    error: Mapping[str, Any] | None = None
    silent: bool = False
    open: bool = False


class Behind(Exception):
    """
    A handler's steps need what another lane has yet to do.

    What the handler did is rolled back; that lane is run until it has done what it has now, and then the steps again.
    No lane may wait, through others, for itself: courses wait for nobody.
    """

    def __init__(self, lane: str) -> None:
        self.lane = lane
        super().__init__(lane)


class Handler(Protocol):
    """How the steps of one kind of lane are run."""

    def is_there(self, lane: str) -> bool:
        """Say whether what the lane is about exists yet, so that someone may be listening to it."""

    def check(self, lane: str, user: User, steps: Sequence[Step]) -> None:
        """
        Check whether a user may still ask for steps of theirs that failed.

        Raises:
            errors.CourseHubError: they may not.
        """

    def run(self, lane: str, steps: Sequence[Step], now: datetime) -> list[Outcome]:
        """
        Run the steps in order, inside the caller's transaction, and write what changed; one outcome for each.

        A step that cannot be done has an outcome with an error. Whatever else is raised is unexpected: the caller rolls
        back and tries the steps one by one.

        Raises:
            Behind: the steps need another lane's.
        """


_handlers: dict[str, Handler] = {}


def register(kind: str, handler: Handler) -> None:
    """Say how the lanes of a kind are run."""
    _handlers[kind] = handler


def handler_of(lane: str) -> Handler:
    """Find the handler of a lane."""
    return _handlers[lane.partition(":")[0]]


def steps_at_once(lane: str, otherwise: int) -> int:
    """Say how many steps of a lane one transaction runs at most; a handler may have a ``pace`` of its own."""
    pace = _pace_of(lane)
    return pace.steps if pace else otherwise


def note_pace(lane: str, steps: int, seconds: float) -> None:
    """Learn how long a transaction with so many steps of a lane was open."""
    if pace := _pace_of(lane):
        pace.note(steps, seconds)


def _pace_of(lane: str) -> Pace | None:
    return getattr(_handlers.get(lane.partition(":")[0]), "pace", None)


def is_there(lane: str) -> bool:
    """Say whether what a lane is about exists yet; a lane that nobody knows how to run may be about anything."""
    handler = _handlers.get(lane.partition(":")[0])
    return handler is None or handler.is_there(lane)


def check(lane: str, user: User, steps: Sequence[Step]) -> None:
    """Check whether a user may still ask for steps of a lane; see `Handler.check`."""
    handler_of(lane).check(lane, user, steps)


def queue_up(names: Sequence[str]) -> None:
    """
    Wait for the right to append to lanes, until the end of the transaction.

    Whoever appends holds it until the commit, so that the ids of a lane's steps are in the order of their commits,
    and therefore of their answers. It does not keep anyone from running the lane.
    """
    for name in sorted(names):
        sql.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))", [name])
