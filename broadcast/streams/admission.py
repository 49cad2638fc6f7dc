"""Who gets an event stream, and of what; and the answers to those who get none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from broadcast import session as sessions
from broadcast.contracts import streams, topics
from broadcast.contracts.frames import CloseCode
from broadcast.contracts.tickets import Ticket
from broadcast.publish import Answer, refuse, unavailable
from broadcast.session import Close, Terms
from broadcast.shell import Scope, ticket_of_header

_TOPICS: Final = "topics"
_LAST_EVENT_ID: Final = "lastEventId"
_RETRY_AFTER_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Admitted:
    """
    A client that may begin.

    ``since``: the topics it is to hear, the user's own first, and the last seq it saw of each (None: from now on).
    """

    ticket: Ticket
    since: Mapping[str, int | None]


class _InvalidQuery(ValueError):
    def __init__(self, field: str, problem: Exception) -> None:
        super().__init__(str(problem))
        self.field = field


def admit(scope: Scope, terms: Terms, now_ms: int) -> Admitted | Answer:
    """Read a request, and check what it asks for against its ticket."""
    query = parse_qs(scope["query_string"].decode("latin-1"))
    try:
        named, positions = _read_topics(query.get(_TOPICS, [])), _read_positions(scope, query)
    except _InvalidQuery as problem:
        return _invalid(problem.field, str(problem))
    ticket = sessions.admit(ticket_of_header(scope) or query.get("ticket", [None])[-1], terms, now_ms)
    if not isinstance(ticket, Ticket):
        return answer_closed(ticket)
    since = {topic: positions.get(topic) for topic in _with_own(named, ticket)}
    return _refuse_topics(since, ticket, terms) or Admitted(ticket, since)


def answer_closed(close: Close) -> Answer:
    """Say as an answer what a connection that is open already gets as its ``closing``."""
    match close.code:
        case CloseCode.NO_TICKET | CloseCode.EXPIRED:
            return refuse(401, "not_authenticated", close.reason, headers={"WWW-Authenticate": "Bearer"})
        case CloseCode.USER_DISABLED:
            return refuse(403, "permission_denied", close.reason)
        case CloseCode.TOO_MANY_CONNECTIONS:
            return refuse(429, "throttled", close.reason, headers={"Retry-After": str(_RETRY_AFTER_SECONDS)})
    return unavailable(close.reason)


def _refuse_topics(named: Mapping[str, object], ticket: Ticket, terms: Terms) -> Answer | None:
    for topic in named:
        if topic not in ticket.seqs:
            return refuse(403, "permission_denied", "The ticket does not grant this topic.", topic=topic)
    if len(named) > terms.topics_per_connection:
        terms.on_limited("topics")
        return _invalid(_TOPICS, f"A connection may have {terms.topics_per_connection} topics.")
    return None


def _with_own(named: list[str], ticket: Ticket) -> list[str]:
    own = topics.user(ticket.user_id)
    return [own, *(topic for topic in named if topic != own)] if own in ticket.seqs else named


def _read_topics(texts: list[str]) -> list[str]:
    named = dict.fromkeys(name for text in texts for name in text.split(",") if name)
    try:
        for name in named:
            topics.parse(name)
    except topics.InvalidTopic as problem:
        raise _InvalidQuery(_TOPICS, problem) from problem
    return list(named)


def _read_positions(scope: Scope, query: Mapping[str, list[str]]) -> dict[str, int]:
    # Where a browser comes back by itself it sends the header, and repeats the query that it came with at first.
    wanted = streams.LAST_EVENT_ID.lower().encode()
    header = next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")
    try:
        return streams.read_positions(header or query.get(_LAST_EVENT_ID, [""])[-1])
    except streams.InvalidPositions as problem:
        raise _InvalidQuery(_LAST_EVENT_ID, problem) from problem


def _invalid(field: str, message: str) -> Answer:
    return refuse(400, "validation_error", message, fields={field: [message]})
