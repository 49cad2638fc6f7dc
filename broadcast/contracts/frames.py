"""
Frames: what travels over the WebSocket besides events, and the codes a connection closes with.

Client frames are read by `parse`; each server frame has a function that makes it. ``docs/protocol.md`` tells when
each is sent, and ``docs/asyncapi.yaml`` gives their shapes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NoReturn

PATH: Final = "/ws/"
SUBPROTOCOL: Final = "coursehub.v1"
TICKET_SUBPROTOCOL: Final = "ticket."
"""Prefix of the second subprotocol a browser offers: ``ticket.<ticket>``."""

MAX_SEQ: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exact (RFC 8259, section 6)."""

HISTORY_LOST: Final = "history_lost"
TOO_FAR: Final = "too_far"
AHEAD: Final = "ahead"
"""The reasons of a ``resync``."""

ACCESS_WITHDRAWN: Final = "access_withdrawn"
NOT_IN_TICKET: Final = "not_in_ticket"
TICKET_EXPIRED: Final = "ticket_expired"
"""The codes of an ``unsubscribed`` that the client did not ask for."""

Frame = dict[str, Any]


class CloseCode(IntEnum):
    """Why the server closed a connection; each tells the client what to do next."""

    NO_TICKET = 4001
    EXPIRED = 4002
    USER_DISABLED = 4003
    PROTOCOL_BROKEN = 4004
    TOO_SLOW = 4101
    TOO_MANY_CONNECTIONS = 4102
    TOO_FAST = 4103
    GOING_AWAY = 4201


class InvalidFrame(ValueError):
    """What a client sent is no frame of this protocol; the message says how."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """``since``: the last seq seen, None for "from now". ``ticket``: for a topic the connection's own lacks."""

    topic: str
    since: int | None = None
    ticket: str | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Stop hearing a topic."""

    topic: str


@dataclass(frozen=True, slots=True)
class Refresh:
    """Go on with a new ticket of the same user."""

    ticket: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask for a ``pong``."""


ClientFrame = Subscribe | Unsubscribe | Refresh | Ping


def parse(text: str) -> ClientFrame:
    """
    Read a client's frame. Members this protocol does not know are ignored.

    Raises:
        InvalidFrame: not JSON, not an object, an unknown type, or a member that is missing or of the wrong type.
    """
    frame = _read_object(text)
    match frame.get("type"):
        case "subscribe":
            return Subscribe(_text(frame, "topic"), _since(frame), _optional_text(frame, "ticket"))
        case "unsubscribe":
            return Unsubscribe(_text(frame, "topic"))
        case "refresh":
            return Refresh(_text(frame, "ticket"))
        case "ping":
            return Ping()
    raise InvalidFrame("unknown frame type")


def parse_seq(value: object) -> int:
    """
    Check that a value can be a seq: an integer from 0 to `MAX_SEQ`.

    Raises:
        InvalidFrame: it cannot.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SEQ:
        raise InvalidFrame("since must be an integer from 0")
    return value


def welcome(*, connection_id: str, user_id: str, topics: list[str], heartbeat_seconds: float, expires_at: int) -> Frame:
    """First frame of a connection. ``topics``: what its ticket grants. ``expires_at``: ms since the epoch."""
    return {
        "type": "welcome",
        "connectionId": connection_id,
        "userId": user_id,
        "topics": topics,
        "heartbeatSeconds": heartbeat_seconds,
        "expiresAt": expires_at,
    }


def subscribed(topic: str, *, seq: int, recovered: bool | None, replayed: int) -> Frame:
    """A subscription stands; ``replayed`` events up to ``seq`` follow, then the live ones."""
    return {"type": "subscribed", "topic": topic, "seq": seq, "recovered": recovered, "replayed": replayed}


def resync(topic: str, *, seq: int, reason: str) -> Frame:
    """Something was missed that cannot be replayed: refetch; the subscription is live after ``seq``."""
    return {"type": "resync", "topic": topic, "seq": seq, "reason": reason}


def unsubscribed(topic: str, *, code: str | None = None) -> Frame:
    """A subscription ended; ``code`` says why when the client did not ask for it."""
    return {"type": "unsubscribed", "topic": topic} | ({} if code is None else {"code": code})


def heartbeat(positions: Mapping[str, int]) -> Frame:
    """The newest seq of each subscribed topic; one that could not be checked just now is left out."""
    return {"type": "heartbeat", "positions": dict(positions)}


def expiring(expires_at: int) -> Frame:
    """The ticket ends soon, at ``expires_at`` (ms since the epoch)."""
    return {"type": "expiring", "expiresAt": expires_at}


def refreshed(*, expires_at: int, topics: list[str]) -> Frame:
    """A new ticket was taken; ``topics`` is what it grants."""
    return {"type": "refreshed", "expiresAt": expires_at, "topics": topics}


def pong() -> Frame:
    """The answer to a ``ping``."""
    return {"type": "pong"}


def error(code: str, message: str, *, topic: str | None = None) -> Frame:
    """Something was refused; the connection stays as it was."""
    return {"type": "error", "code": code, "message": message} | ({} if topic is None else {"topic": topic})


def closing(code: CloseCode, *, reason: str, retry_after_ms: int | None) -> Frame:
    """Last frame of a connection. ``retry_after_ms`` None: do not come back with what you have."""
    return {"type": "closing", "code": int(code), "reason": reason, "retryAfterMs": retry_after_ms}


def _read_object(text: str) -> dict[str, Any]:
    try:
        frame = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as problem:
        raise InvalidFrame("not JSON") from problem
    if not isinstance(frame, dict):
        raise InvalidFrame("not a JSON object")
    return frame


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _text(frame: Mapping[str, Any], key: str) -> str:
    value = frame.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidFrame(f"{key} must be a string")
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise InvalidFrame(f"{key} holds half a surrogate pair") from problem
    return value


def _optional_text(frame: Mapping[str, Any], key: str) -> str | None:
    return None if frame.get(key) is None else _text(frame, key)


def _since(frame: Mapping[str, Any]) -> int | None:
    return None if frame.get("since") is None else parse_seq(frame["since"])
