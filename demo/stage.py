"""The stage: who takes part, what was asked for, and what of it was heard where."""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from demo import changes
from demo.board import Board
from demo.changes import Expected
from demo.client import Answer, Api, Json, Received
from demo.replica import Replica
from demo.tab import Tab

PATIENCE_SECONDS = 15


class Missing(Exception):
    """An event did not come."""


class Wrong(Exception):
    """An answer is not what it should be."""


@dataclass(slots=True)
class Intention:
    """One user intention: an operation, when it was asked for, and the events that must tell of it, in order."""

    use_case: str
    operation_id: str
    sent_at: float
    expected: list[Expected] = field(default_factory=list)


class Stage:
    """
    An owner with two tabs, a viewer with a phone, an outsider, and the course that they are looking at.

    Everything the owner asks for is written down with the events that must follow; `demo.judge` compares. ``uploads``
    and ``bulks`` say at which topics there must be progress: of which uploads, and of which bulk operations.
    """

    def __init__(self, url: str, board: Board) -> None:
        self.run = secrets.token_hex(3)
        self.board = board
        self.owner, self.viewer, self.outsider = (_register(url, name, self.run) for name in _NAMES)
        self.intentions: dict[str, Intention] = {}
        self.uploads: dict[str, str] = {}
        self.bulks: dict[str, str] = {}
        self.use_case = ""
        self.course_id = ""
        self._numbers = count(1)
        self._grew = threading.Condition()
        self.tabs = [Tab("tab 1", self.owner, self._hear), Tab("tab 2", self.owner, self._hear)]
        self.phone = Tab("phone", self.viewer, self._hear)
        self.stranger = Tab("outsider", self.outsider, self._hear)

    @property
    def members(self) -> list[Tab]:
        """The tabs that may see the courses."""
        return [*self.tabs, self.phone]

    @property
    def topic(self) -> str:
        """The course's topic."""
        return f"course:{self.course_id}"

    @property
    def own_topic(self) -> str:
        """The owner's own topic, where their library is told of."""
        return self.tabs[0].own_topic

    @property
    def copy(self) -> Replica:
        """The course as the first tab has it, made of nothing but events."""
        return self.tabs[0].copy_of(self.course_id)

    def begin(self, use_case: str) -> None:
        """Begin a use case; its name begins with its number."""
        self.use_case = use_case
        self.board.begin(use_case)

    def do(self, change: Json) -> Answer:
        """Ask for one change with a request of its own, and wait until every tab has heard of it."""
        return self.wait(self.ask(change))

    def ask(self, change: Json) -> tuple[Intention, Answer]:
        """Ask for one change, and go on at once."""
        method, path, body = changes.request_of(change, self.course_id)
        return self.request(method, path, body, lambda answer: [changes.event_of(change, self.topic, answer.data, {})])

    def save(self, wanted: Sequence[Json], **more: object) -> Answer:
        """Ask for many changes with one save, and wait until every tab has heard of them and of the save's end."""

        def events(answer: Answer) -> list[Expected]:
            steps, ids = answer.data["steps"], answer.data["ids"]
            told = [changes.event_of(change, self.topic, step, ids) for change, step in zip(wanted, steps, strict=True)]
            return [*told, changes.end_of(self.topic, succeeded=len(wanted))]

        body = {"changes": list(wanted), **more}
        return self.wait(self.request("POST", f"courses/{self.course_id}/save/", body, events))

    def request(
        self,
        method: str,
        path: str,
        body: Json,
        expected: Sequence[Expected] | Callable[[Answer], Sequence[Expected]],
        operation_id: str | None = None,
    ) -> tuple[Intention, Answer]:
        """
        Send a mutation under an operationId of our own, and write down what must come of it.

        ``expected`` may need the answer, for ids that it assigns. Requests that share an operationId add to one
        intention.
        """
        intention = self.intend(operation_id)
        key = intention.operation_id
        answer = self.owner.request(method, path, body, {"Operation-Id": key})
        if answer.status != 202 or not answer.body["immediate"] or answer.operation_id != key:
            raise Wrong(f"{method} {path} was answered with {answer.status}: {answer.body}")
        intention.expected += expected(answer) if callable(expected) else expected
        return intention, answer

    def intend(self, operation_id: str | None = None) -> Intention:
        """Begin an intention, which is an operation, or go on with one."""
        key = operation_id or f"{self.use_case.split()[0]}-{self.run}-{next(self._numbers)}"
        return self.intentions.setdefault(key, Intention(self.use_case, key, time.perf_counter()))

    def wait(self, asked: tuple[Intention, Answer]) -> Answer:
        """Wait until every connected tab has heard everything of an operation that concerns it."""
        intention, answer = asked
        self.hear_all(intention)
        return answer

    def hear_all(self, intention: Intention) -> None:
        """Wait until every connected tab has heard everything of an intention that concerns it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._grew:
            while late := [tab for tab in self._connected() if self._lacks(tab, intention)]:
                if not self._grew.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    names = ", ".join(tab.name for tab in late)
                    raise Missing(f"{intention.use_case}: not every event of {intention.operation_id} came to {names}.")
        self.board.settle()

    def refused(self, status: int, api: Api, method: str, path: str, body: Json | None = None) -> Answer:
        """Insist that a request is refused, and with this status."""
        answer = api.request(method, path, body)
        if answer.status != status or answer.body["success"]:
            raise Wrong(f"{method} {path} was answered with {answer.status} instead of {status}: {answer.body}")
        self.board.note(f"{api.user['username']}: {method} {path.split('/')[0]}/… is refused with {status}")
        return answer

    def settle(self) -> None:
        """Wait until everything that was sent to anyone is here, also what should not have been sent."""
        for tab in self._connected():
            tab.settle()

    def close(self) -> None:
        """Close every connection."""
        for tab in self._connected():
            tab.disconnect()

    def _connected(self) -> list[Tab]:
        return [tab for tab in [*self.members, self.stranger] if tab.listener]

    def _lacks(self, tab: Tab, intention: Intention) -> bool:
        heard = {topic for topic, hearing in tab.hearings.items() if hearing.until is None}
        return tab.count(intention.operation_id) < sum(event.topic in heard for event in intention.expected)

    def _hear(self, tab: Tab, received: Received) -> None:
        event = received.frame
        if "seq" not in event:
            self.board.watch(tab.name, event)
            return
        intention = self.intentions.get(event.get("operationId", ""))
        if intention:
            seconds = None if tab.is_resuming else received.at - intention.sent_at
            self.board.hear(tab.name, event, intention.use_case, seconds)
        with self._grew:
            self._grew.notify_all()


_NAMES = ("instructor", "viewer", "outsider")


def _register(url: str, name: str, run: str) -> Api:
    return Api(url).register(f"{name}-{run}", secrets.token_urlsafe(16))
