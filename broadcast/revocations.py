"""Access that was withdrawn: remembered for as long as a ticket from before it could still be shown."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broadcast.contracts import events, tickets, topics

LIFETIME_MS = tickets.LIFETIME_SECONDS * 1000


@dataclass(frozen=True, slots=True)
class Revocation:
    """
    Tickets of ``user_id`` made up to ``before_ms`` no longer grant ``topic``; None: they grant nothing at all.

    A ticket of the same millisecond counts as from before: nobody can tell which was first.
    """

    user_id: str
    topic: str | None
    before_ms: int

    def encode(self) -> bytes:
        """Encode for Redis and the channel layer."""
        return json.dumps([self.user_id, self.topic, self.before_ms]).encode()


def decode(encoded: bytes) -> Revocation:
    """Undo `Revocation.encode`."""
    return Revocation(*json.loads(encoded))


def is_control(event: Mapping[str, Any]) -> bool:
    """Tell whether what was posted is meant for this service and not for clients."""
    return event.get("type") == events.ACCESS_REVOKED


def from_event(event: Mapping[str, Any]) -> Revocation:
    """
    Read an ``access-revoked``: flat, or in an event's envelope with ``topic`` and ``before`` in its ``data``.

    Raises:
        ValueError: it has another shape; the message says how.
    """
    data = event.get("data")
    said = data if isinstance(data, dict) and "before" in data else event
    if "topic" not in said:
        raise ValueError("topic is missing")
    user_id, topic, before_ms = event.get("userId"), said["topic"], said.get("before")
    if not isinstance(user_id, str):
        raise ValueError("userId must be a UUID")
    topics.parse(topics.user(user_id))
    if topic is not None:
        topics.parse(topic)
    if isinstance(before_ms, bool) or not isinstance(before_ms, int) or before_ms < 0:
        raise ValueError("before must be milliseconds since the epoch")
    return Revocation(user_id, topic, before_ms)


class Revocations:
    """What this process remembers; every process has heard of each within a second."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, str | None], tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._before)

    def add(self, revocation: Revocation, *, now_ms: int) -> bool:
        """Remember; returns False when this says nothing new."""
        key = (revocation.user_id, revocation.topic)
        before_ms, _ = self._before.get(key, (-1, 0))
        if revocation.before_ms <= before_ms:
            return False
        self._before[key] = (revocation.before_ms, max(now_ms, revocation.before_ms) + LIFETIME_MS)
        return True

    def withdraw(self, user_id: str, topic: str | None, *, issued_at_ms: int) -> bool:
        """Tell whether a ticket made then no longer grants the topic; topic None: whether it grants nothing."""
        before_ms, _ = self._before.get((user_id, topic), (-1, 0))
        return issued_at_ms <= before_ms

    def forget_expired(self, *, now_ms: int) -> None:
        """Forget what no living ticket can be from before."""
        self._before = {key: value for key, value in self._before.items() if value[1] > now_ms}

    def all(self) -> list[Revocation]:
        """List what is remembered."""
        return [Revocation(*key, before_ms) for key, (before_ms, _) in self._before.items()]
