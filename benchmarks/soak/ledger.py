"""What a client has been told of each topic, kept so that it can be held against the database."""

import json
import zlib
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]
_MOST_BREACHES = 20


def fingerprint(event: Mapping[str, Any]) -> int:
    """Say in four bytes what an event says, whatever the order of its members."""
    return zlib.crc32(json.dumps(event, sort_keys=True, separators=(",", ":")).encode())


def topic_of(event: Mapping[str, Any]) -> str:
    """Tell an event's topic from its envelope."""
    return f"course:{event['courseId']}" if "courseId" in event else f"user:{event['userId']}"


class Ledger:
    """
    One client's account, from seq 1 of each topic on.

    It is told every frame. ``breaches`` lists where the service did not keep its word: a seq left out, doubled or out
    of order within one subscription, or a heartbeat that knows of more than was delivered.
    """

    def __init__(self, name: str, topics: Sequence[str]) -> None:
        self.name = name
        self.seen: dict[str, array[int]] = {topic: array("I") for topic in topics}
        self.breaches: list[str] = []
        self.refetched = self.resyncs = self.subscriptions = 0
        self._next: dict[str, int] = {}

    def position(self, topic: str) -> int:
        """Give the newest seq that is known of a topic."""
        return len(self.seen[topic])

    def disconnected(self) -> None:
        """Forget what this connection had subscribed to."""
        self._next.clear()

    def subscribed(self, topic: str) -> None:
        """A subscription since our position stands: what follows begins right after it."""
        self.subscriptions += 1
        self._next[topic] = self.position(topic) + 1

    def resync(self, topic: str, seq: int) -> None:
        """The topic goes on after ``seq``; what is missing up to there is to be refetched by now."""
        self.resyncs += 1
        self._next[topic] = seq + 1

    def heard(self, event: Json) -> None:
        """An event came over the socket."""
        topic, seq = topic_of(event), event["seq"]
        if topic not in self._next:
            return self._breach(f"{topic} {seq} came without a subscription")
        if seq != self._next[topic]:
            self._breach(f"{topic}: {self._next[topic]} was next, and {seq} came")
        self._next[topic] = seq + 1
        if seq == self.position(topic) + 1:
            self.seen[topic].append(fingerprint(event))
        return None

    def refetch(self, event: Json) -> None:
        """An event was read over REST."""
        topic = topic_of(event)
        if event["seq"] == self.position(topic) + 1:
            self.refetched += 1
            self.seen[topic].append(fingerprint(event))

    def heartbeat(self, positions: Mapping[str, int]) -> None:
        """A heartbeat says what has been delivered."""
        for topic, seq in positions.items():
            if topic in self._next and seq >= self._next[topic]:
                self._breach(f"{topic}: a heartbeat knows {seq}, and {self._next[topic]} has not come")

    def differences(self, committed: Mapping[str, Sequence[int]]) -> list[str]:
        """Say where this account differs from all that was committed, by topic and in the order of seq."""
        found = []
        for topic, seen in self.seen.items():
            expected = committed.get(topic, ())
            if len(seen) != len(expected):
                found.append(f"{self.name}: {topic} ends at {len(seen)}, the database at {len(expected)}")
            wrong = [place + 1 for place, (a, b) in enumerate(zip(seen, expected, strict=False)) if a != b]
            if wrong:
                found.append(f"{self.name}: {topic} {wrong[0]} is not what was committed ({len(wrong)} such)")
        return found

    def _breach(self, text: str) -> None:
        if len(self.breaches) < _MOST_BREACHES:
            self.breaches.append(f"{self.name}: {text}")
