"""One device: its connection to the broadcast service, and its own copy of each course it shows."""

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from demo.client import Api, Json, Listener, Received, topic_of
from demo.replica import Replica

Hear = Callable[["Tab", Received], None]


@dataclass(slots=True)
class Hearing:
    """What a tab must hear of a topic: everything after ``after``, and nothing from ``until`` on, if that is given."""

    after: int
    until: int | None = None


class Tab:
    """
    A browser's tab, or an app on a phone. It follows the client's rule: read at N, then subscribe with ``since: N``.

    ``hear`` is told of every event, progress included, in the connection's own thread.
    """

    def __init__(self, name: str, api: Api, hear: Hear) -> None:
        self.name, self.api, self._hear = name, api.again(), hear
        self.own_topic = f"user:{api.user['id']}"
        self.hearings = {self.own_topic: Hearing(after=0)}
        self.received: list[Received] = []
        self.copies: dict[str, Replica] = {}
        self._applied: dict[str, int] = defaultdict(int)
        self._counts: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self.is_resuming = False
        self.listener: Listener | None = None
        self.connect()

    @property
    def events(self) -> list[Json]:
        """Every durable event that came, over all connections, in the order in which they came."""
        return [frame for frame in map(_frame, self._snapshot()) if "data" in frame and "seq" in frame]

    @property
    def frames(self) -> list[Json]:
        """Everything else that came: answers of the broadcast service, and its own remarks."""
        return [frame for frame in map(_frame, self._snapshot()) if "data" not in frame]

    def connect(self) -> None:
        """Connect, and go on with every topic where the last connection ended."""
        self.is_resuming = True
        ticket = self.api.ticket(*self.copies)
        self.listener = Listener(ticket["url"], ticket["ticket"], self._last_seq(self.own_topic), self._receive)
        self.listener.wait_for(lambda frame: frame["type"] == "subscribed")
        for course_id in self.copies:
            self._subscribe(f"course:{course_id}", None)
        self.settle()
        self.is_resuming = False

    def settle(self) -> None:
        """Wait until everything that the broadcast service had sent by now is here: frames keep their order."""
        assert self.listener
        before = len(self.listener.log.received)
        self.listener.send({"type": "ping"})
        self.listener.wait_for(lambda frame: frame["type"] == "pong", start=before)

    def disconnect(self) -> None:
        """Lose the connection, as a phone does in a tunnel."""
        assert self.listener
        self.listener.close()
        self.listener = None

    def show(self, course_id: str) -> None:
        """Open a course: read its outline, then hear everything after it."""
        outline = self.api.get(f"courses/{course_id}/outline/").data
        topic = outline["topic"]
        self.copies[course_id] = Replica(outline)
        self.hearings[topic] = Hearing(after=outline["seq"])
        self._subscribe(topic, self.api.ticket(course_id)["ticket"])

    def copy_of(self, course_id: str) -> Replica:
        """Give the tab's copy of a course, with every event applied that came until now."""
        copy, topic = self.copies[course_id], f"course:{course_id}"
        ours = [event for event in self.events if topic_of(event) == topic]
        for event in ours[self._applied[topic] :]:
            self._applied[topic] += 1
            copy.apply(event)
        return copy

    def count(self, operation_id: str) -> int:
        """How many durable events of an operation came."""
        with self._lock:
            return self._counts[operation_id]

    def _subscribe(self, topic: str, ticket: str | None) -> None:
        assert self.listener
        frame = {"type": "subscribe", "topic": topic, "since": self._last_seq(topic)}
        self.listener.send({**frame, "ticket": ticket} if ticket else frame)
        self.listener.wait_for(
            lambda answer: answer.get("topic") == topic and answer["type"] in ("subscribed", "resync")
        )

    def _last_seq(self, topic: str) -> int:
        seqs: list[int] = [event["seq"] for event in self.events if topic_of(event) == topic]
        return max([self.hearings[topic].after, *seqs])

    def _snapshot(self) -> list[Received]:
        with self._lock:
            return list(self.received)

    def _receive(self, received: Received) -> None:
        with self._lock:
            self.received.append(received)
            if "data" in received.frame and "seq" in received.frame:
                self._counts[received.frame.get("operationId", "")] += 1
        if "data" in received.frame:
            self._hear(self, received)


def _frame(received: Received) -> Json:
    return received.frame
