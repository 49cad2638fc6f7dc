"""Topics: ``course:<uuid>`` and ``user:<uuid>``, plain strings everywhere; these functions make and read them."""

import re
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

COURSE: Final = "course"
USER: Final = "user"
KINDS: Final = frozenset({COURSE, USER})

ENVELOPE_KEYS: Final = {COURSE: "courseId", USER: "userId"}
"""Which key of an event's envelope names the topic, by the topic's kind."""

# Not `str(UUID(text)) == text`: it takes seven times as long, and every event is checked twice.
_CANONICAL_UUID: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch

_LONGEST: Final = max(map(len, KINDS)) + 1 + 36
"""What is longer is not even looked at, nor kept."""


class InvalidTopic(ValueError):
    """A topic is course:<uuid> or user:<uuid>, in lower case."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Parsed(NamedTuple):
    """A topic taken apart: ``kind`` is one of `KINDS`, ``id`` the canonical UUID text."""

    kind: str
    id: str


def course(course_id: UUID | str) -> str:
    """Name the topic of everything about one course."""
    return f"{COURSE}:{course_id}"


def user(user_id: UUID | str) -> str:
    """Name the topic of what concerns one user alone."""
    return f"{USER}:{user_id}"


@lru_cache(maxsize=4096)
def _parse(topic: str) -> Parsed | None:
    kind, _, raw_id = topic.partition(":")
    return Parsed(kind, raw_id) if kind in KINDS and _CANONICAL_UUID(raw_id) else None


def parse(topic: object) -> Parsed:
    """
    Take a topic apart.

    Raises:
        InvalidTopic: not a string, an unknown kind, or an id that is not a UUID in its canonical form.
    """
    parsed = _parse(topic) if isinstance(topic, str) and len(topic) <= _LONGEST else None
    if parsed is None:
        raise InvalidTopic
    return parsed


def of_envelope(event: dict[str, object]) -> str:
    """
    Tell which topic an event's envelope names: ``courseId`` when present, otherwise ``userId``.

    Raises:
        InvalidTopic: neither is there, or its value is not a UUID.
    """
    kind = COURSE if ENVELOPE_KEYS[COURSE] in event else USER
    topic = f"{kind}:{event.get(ENVELOPE_KEYS[kind])}"
    parse(topic)
    return topic
