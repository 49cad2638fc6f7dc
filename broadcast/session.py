"""
One client's side of the protocol as a state machine: frames and news in, effects out. No I/O, no clock.

The shell around it (`broadcast.consumers`) performs the effects in order, and tells the session what came of them.
All times are milliseconds since the epoch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from broadcast.contracts import frames, tickets, topics
from broadcast.contracts.frames import CloseCode, Frame
from broadcast.contracts.tickets import Ticket
from broadcast.limits import Pace
from broadcast.resume import Outcome, Resumed
from broadcast.revocations import Revocation, Revocations


@dataclass(frozen=True, slots=True)
class Send:
    """Send this frame."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Join:
    """Begin to hear a topic after ``since``, anew if it is heard already, and tell `Session.joined`."""

    topic: str
    since: int | None


@dataclass(frozen=True, slots=True)
class Leave:
    """Hear a topic no longer."""

    topic: str


@dataclass(frozen=True, slots=True)
class Close:
    """Send a ``closing`` frame and close. Nothing follows."""

    code: CloseCode
    reason: str
    retry_after_ms: int | None


_COMPLAINTS_APART_MS = 1000
_FRAMES = Pace(20, 600)
_SUBSCRIBES = Pace(10, 400)

Effect = Send | Join | Leave | Close

NO_TICKET = Close(CloseCode.NO_TICKET, "There is no valid ticket.", 0)
EXPIRED = Close(CloseCode.EXPIRED, "The ticket has expired.", 0)
USER_DISABLED = Close(CloseCode.USER_DISABLED, "This user may not connect.", None)
TOO_SLOW = Close(CloseCode.TOO_SLOW, "Too much was waiting to be read.", 0)
TOO_FAST = Close(CloseCode.TOO_FAST, "This connection sends too many frames.", 30_000)
TOO_MANY_CONNECTIONS = Close(CloseCode.TOO_MANY_CONNECTIONS, "This user has too many connections.", 30_000)


def protocol_broken(reason: str) -> Close:
    """Close on a client that does not speak this protocol."""
    return Close(CloseCode.PROTOCOL_BROKEN, reason, None)


def going_away(retry_after_ms: int) -> Close:
    """Close because the server leaves, or cannot serve just now."""
    return Close(CloseCode.GOING_AWAY, "The server is going away.", retry_after_ms)


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to hear one topic: the topic's newest seq when the ticket was made, and the ticket's two times."""

    seq: int
    issued_at_ms: int
    expires_at_ms: int


def _ignore(_limit: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Terms:
    """What every session of a service has in common."""

    read_ticket: Callable[[str, int], Ticket]
    revocations: Revocations
    heartbeat_seconds: float
    expiring_ms: int
    topics_per_connection: int
    frame_pace: Pace = _FRAMES
    subscribe_pace: Pace = _SUBSCRIBES
    on_limited: Callable[[str], None] = _ignore
    """Told which limit a client ran into: ``frames``, ``subscribes`` or ``topics``."""


def admit(text: str | None, terms: Terms, now_ms: int) -> Ticket | Close:
    """Check the ticket a client connects with."""
    try:
        ticket = terms.read_ticket(text or "", now_ms)
    except tickets.ExpiredTicket:
        return EXPIRED
    except tickets.InvalidTicket:
        return NO_TICKET
    if terms.revocations.withdraw(ticket.user_id, None, issued_at_ms=ticket.issued_at_ms):
        return USER_DISABLED
    return ticket


class Session:
    """What one connection may hear, what it hears, and what it was told."""

    def __init__(self, ticket: Ticket, *, connection_id: str, terms: Terms) -> None:
        self.connection_id = connection_id
        self.user_id = ticket.user_id
        self._terms = terms
        self._ticket = ticket
        self._grants = self._grants_of(ticket)
        self._topics: set[str] = set()
        self._resynced: dict[str, int] = {}
        self._told_expiring = False
        self._frames_whole_at_ms = self._subscribes_whole_at_ms = self._told_limited_at_ms = 0.0
        self._ignored = 0

    @property
    def deadline_ms(self) -> int:
        """When `tick` has something to do next."""
        expires_at_ms = self._ticket.expires_at_ms
        notice = expires_at_ms if self._told_expiring else expires_at_ms - self._terms.expiring_ms
        return min([notice, *(grant.expires_at_ms for grant in self._grants.values())])

    def grant(self, topic: str) -> Grant | None:
        """Look up the right to hear a topic."""
        return self._grants.get(topic)

    def was_resynced(self, topic: str, epoch_ms: int) -> bool:
        """Tell whether the client was told to refetch a topic since the history of this epoch began."""
        return self._resynced.get(topic) == epoch_ms

    def open(self, since: int | None) -> list[Effect]:
        """Begin: ``since`` is for the user's own topic."""
        own = topics.user(self.user_id)
        return [Send(self.welcome()), *([self._join(own, since)] if own in self._grants else [])]

    def welcome(self) -> Frame:
        """Make the frame that comes first."""
        return frames.welcome(
            connection_id=self.connection_id,
            user_id=self.user_id,
            topics=list(self._grants),
            heartbeat_seconds=self._terms.heartbeat_seconds,
            expires_at=self._ticket.expires_at_ms,
        )

    def hear(self, since: Mapping[str, int | None]) -> list[Join]:
        """Begin to hear topics, each after its seq, as far as they are granted; for clients that cannot subscribe."""
        return [self._join(topic, seq) for topic, seq in since.items() if topic in self._grants]

    def receive(self, text: str, now_ms: int) -> list[Effect]:
        """Take a text frame from the client."""
        if self._frames_whole_at_ms <= now_ms:
            # Not with each that is taken: who floods has one taken now and then.
            self._ignored = 0
        whole_at_ms = self._terms.frame_pace.next(self._frames_whole_at_ms, now_ms)
        if whole_at_ms is None:
            return self._ignore_frame(now_ms)
        self._frames_whole_at_ms = whole_at_ms
        try:
            frame = frames.parse(text)
        except frames.InvalidFrame as problem:
            return [protocol_broken(f"Not a frame of this protocol: {problem}.")]
        match frame:
            case frames.Subscribe():
                return self._subscribe(frame, now_ms)
            case frames.Unsubscribe(topic):
                return self._leave(topic, None)
            case frames.Refresh(ticket):
                return self._refresh(ticket, now_ms)
            case frames.Ping():
                return [Send(frames.pong())]

    def receive_binary(self) -> list[Effect]:
        """Take a binary frame from the client, of which this protocol has none."""
        return [protocol_broken("Frames are text.")]

    def joined(self, topic: str, outcome: Outcome, epoch_ms: int) -> Frame:
        """Make the frame that tells the client how its subscription began."""
        if isinstance(outcome, Resumed):
            replayed = len(outcome.bodies)
            return frames.subscribed(topic, seq=outcome.seq, recovered=outcome.recovered, replayed=replayed)
        return self.resync(topic, outcome.seq, outcome.reason, epoch_ms)

    def resync(self, topic: str, seq: int, reason: str, epoch_ms: int) -> Frame:
        """Make the frame that tells the client to refetch, and remember that it was told."""
        self._resynced[topic] = epoch_ms
        return frames.resync(topic, seq=seq, reason=reason)

    def join_failed(self, topic: str, *, goes_on: bool) -> list[Effect]:
        """Tell the client that a subscription could not begin; ``goes_on``: an earlier one of the topic stands."""
        if not goes_on:
            self._topics.discard(topic)
        return [_error("unavailable", "The history is away for the moment: subscribe again.", topic)]

    def withdraw(self, revocation: Revocation) -> list[Effect]:
        """Take back what the client may no longer hear."""
        if revocation.topic is None:
            return [USER_DISABLED] if self._ticket.issued_at_ms <= revocation.before_ms else []
        grant = self._grants.get(revocation.topic)
        if grant is None or grant.issued_at_ms > revocation.before_ms:
            return []
        return self._take_back(revocation.topic, frames.ACCESS_WITHDRAWN)

    def tick(self, now_ms: int) -> list[Effect]:
        """Do what is due at this time."""
        expires_at_ms = self._ticket.expires_at_ms
        if now_ms >= expires_at_ms:
            return [EXPIRED]
        effects: list[Effect] = []
        if not self._told_expiring and now_ms >= expires_at_ms - self._terms.expiring_ms:
            self._told_expiring = True
            effects.append(Send(frames.expiring(expires_at_ms)))
        for topic in [topic for topic, grant in self._grants.items() if grant.expires_at_ms <= now_ms]:
            effects += self._take_back(topic, frames.TICKET_EXPIRED)
        return effects

    def _subscribe(self, frame: frames.Subscribe, now_ms: int) -> list[Effect]:
        try:
            topics.parse(frame.topic)
        except topics.InvalidTopic as problem:
            return [_error("invalid_topic", str(problem), frame.topic)]
        if frame.ticket is not None:
            ticket = self._read(frame.ticket, now_ms, frame.topic)
            if not isinstance(ticket, Ticket):
                return [ticket]
            self._extend_grants(ticket)
        if frame.topic not in self._grants:
            return [_error("permission_denied", "No ticket of this connection grants this topic.", frame.topic)]
        if frame.topic not in self._topics and len(self._topics) >= self._terms.topics_per_connection:
            self._terms.on_limited("topics")
            return [_error("too_many_topics", "This connection hears too many topics.", frame.topic)]
        whole_at_ms = self._terms.subscribe_pace.next(self._subscribes_whole_at_ms, now_ms)
        if whole_at_ms is None:
            self._terms.on_limited("subscribes")
            return [_error("rate_limited", "Too many subscriptions: again in a moment.", frame.topic)]
        self._subscribes_whole_at_ms = whole_at_ms
        return [self._join(frame.topic, frame.since)]

    def _ignore_frame(self, now_ms: int) -> list[Effect]:
        self._ignored += 1
        self._terms.on_limited("frames")
        if self._ignored > self._terms.frame_pace.burst:
            return [TOO_FAST]
        if now_ms - self._told_limited_at_ms < _COMPLAINTS_APART_MS:
            return []
        self._told_limited_at_ms = now_ms
        return [_error("rate_limited", "Too many frames: this one and those before the next answer are ignored.", None)]

    def _refresh(self, text: str, now_ms: int) -> list[Effect]:
        ticket = self._read(text, now_ms, None)
        if not isinstance(ticket, Ticket):
            return [ticket]
        if self._terms.revocations.withdraw(self.user_id, None, issued_at_ms=ticket.issued_at_ms):
            return [USER_DISABLED]
        self._ticket, self._grants, self._told_expiring = ticket, self._grants_of(ticket), False
        lost = [topic for topic in self._topics if topic not in self._grants]
        effects: list[Effect] = [Send(frames.refreshed(expires_at=ticket.expires_at_ms, topics=list(self._grants)))]
        for topic in lost:
            effects += self._leave(topic, frames.NOT_IN_TICKET)
        return effects

    def _read(self, text: str, now_ms: int, topic: str | None) -> Ticket | Send:
        try:
            ticket = self._terms.read_ticket(text, now_ms)
        except tickets.ExpiredTicket:
            return _error("expired_ticket", "This ticket has expired.", topic)
        except tickets.InvalidTicket:
            return _error("invalid_ticket", "This is no valid ticket.", topic)
        if ticket.user_id != self.user_id:
            return _error("foreign_ticket", "This ticket is another user's.", topic)
        return ticket

    def _grants_of(self, ticket: Ticket) -> dict[str, Grant]:
        withdrawn = self._terms.revocations.withdraw
        if withdrawn(ticket.user_id, None, issued_at_ms=ticket.issued_at_ms):
            return {}
        return {
            topic: Grant(seq, ticket.issued_at_ms, ticket.expires_at_ms)
            for topic, seq in ticket.seqs.items()
            if not withdrawn(ticket.user_id, topic, issued_at_ms=ticket.issued_at_ms)
        }

    def _extend_grants(self, ticket: Ticket) -> None:
        for topic, grant in self._grants_of(ticket).items():
            known = self._grants.get(topic)
            if known is None or known.issued_at_ms < grant.issued_at_ms:
                self._grants[topic] = grant

    def _join(self, topic: str, since: int | None) -> Join:
        self._topics.add(topic)
        return Join(topic, since)

    def _leave(self, topic: str, code: str | None) -> list[Effect]:
        self._topics.discard(topic)
        return [Leave(topic), Send(frames.unsubscribed(topic, code=code))]

    def _take_back(self, topic: str, code: str) -> list[Effect]:
        del self._grants[topic]
        return self._leave(topic, code) if topic in self._topics else []


def _error(code: str, message: str, topic: str | None) -> Send:
    return Send(frames.error(code, message, topic=topic))
