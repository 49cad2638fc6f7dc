"""
Tickets: a signed, short-lived statement of who a client is and which topics it may hear.

A JWT (RFC 7519, HS256). The API signs it, the broadcast service checks it without asking anyone.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from broadcast.contracts import topics

LIFETIME_SECONDS: Final = 600
_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "coursehub.broadcast"


class TicketError(Exception):
    """A ticket that grants nothing."""


class InvalidTicket(TicketError):
    """This is not a ticket, or nobody here signed it."""


class ExpiredTicket(TicketError):
    """This ticket was valid once."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """
    What a ticket says.

    ``seqs`` maps each topic it grants to that topic's newest seq when the ticket was made, the user's own topic
    included. Both times are milliseconds since the epoch.
    """

    user_id: str
    seqs: Mapping[str, int]
    issued_at_ms: int
    expires_at_ms: int


def issue(*, secret: str, user_id: str, seqs: Mapping[str, int], now_ms: int | None = None) -> tuple[str, Ticket]:
    """Sign a ticket for ``user_id``; returns its text and what it says. ``seqs`` as in `Ticket`."""
    issued_at_ms = _now_ms() if now_ms is None else now_ms
    ticket = Ticket(user_id, dict(seqs), issued_at_ms, issued_at_ms + LIFETIME_SECONDS * 1000)
    claims = {
        "aud": _AUDIENCE,
        "sub": ticket.user_id,
        "iat": ticket.issued_at_ms / 1000,
        "exp": ticket.expires_at_ms / 1000,
        "topics": ticket.seqs,
    }
    return jwt.encode(claims, secret, algorithm=_ALGORITHM), ticket


def read(text: str, *, secret: str, now_ms: int | None = None) -> Ticket:
    """
    Check a ticket's signature, shape and age, and say what it grants.

    Raises:
        InvalidTicket: forged, foreign, garbled, or of another shape.
        ExpiredTicket: its time is over.
    """
    options: Any = {"require": ["aud", "sub", "iat", "exp"], "verify_exp": False, "verify_iat": False}
    try:
        claims = jwt.decode(text, secret, algorithms=[_ALGORITHM], audience=_AUDIENCE, options=options)
    except (jwt.InvalidTokenError, UnicodeError) as error:
        raise InvalidTicket from error
    ticket = _from_claims(claims)
    if ticket.expires_at_ms <= (_now_ms() if now_ms is None else now_ms):
        raise ExpiredTicket
    return ticket


def _from_claims(claims: Mapping[str, Any]) -> Ticket:
    try:
        seqs = {topic: int(seq) for topic, seq in claims["topics"].items()}
        for topic in seqs:
            topics.parse(topic)
        topics.parse(topics.user(claims["sub"]))
        return Ticket(claims["sub"], seqs, round(claims["iat"] * 1000), round(claims["exp"] * 1000))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidTicket from error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
