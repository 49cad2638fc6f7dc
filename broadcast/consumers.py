"""The WebSocket consumer: the shell around a `Session`, one for each connection."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, cast
from urllib.parse import parse_qs

from channels.consumer import AsyncConsumer  # type: ignore[import-untyped]

from broadcast import session as sessions
from broadcast.contracts import events, frames, topics
from broadcast.contracts.frames import Frame
from broadcast.contracts.tickets import Ticket
from broadcast.feed import Subscription
from broadcast.history import Unavailable
from broadcast.outlet import Outlet
from broadcast.parcel import Parcel, text_frame
from broadcast.resume import Outcome, Request, Resumed, Retained, decide
from broadcast.revocations import Revocation
from broadcast.service import Service
from broadcast.session import Close, Effect, Join, Leave, Send, Session

log = logging.getLogger(__name__)

OUTLET: Final = "coursehub.outlet"
"""The ASGI extension by which the server hands over a connection's `Outlet`."""

_BEARER: Final = "bearer "

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
SendMessage = Callable[[dict[str, Any]], Awaitable[None]]


class EventConsumer(AsyncConsumer):  # type: ignore[misc]
    """
    One client. A listener of the hub for each of its topics.

    It has no channel of its own in the channel layer, and events do not pass through here one by one: the hub writes
    them to the `Outlet` directly.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._session: Session | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._joining: dict[str, Subscription] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._outlet: Outlet
        self.deliver: Callable[[Parcel], None]

    async def __call__(self, scope: Scope, receive: Receive, send: SendMessage) -> None:
        """Serve one connection until it ends (ASGI)."""
        self._outlet = scope["extensions"][OUTLET]
        self._outlet.on_full = lambda: self._close(sessions.TOO_SLOW)
        self.deliver = self._outlet.deliver
        await receive()
        await send({"type": "websocket.accept", "subprotocol": _select_subprotocol(scope)})
        try:
            await self._open(scope)
            await self._read(receive)
        finally:
            self._leave()

    @property
    def user_id(self) -> str:
        """Whose connection it is."""
        return cast("Session", self._session).user_id

    @property
    def topics(self) -> Iterable[str]:
        """What the client hears."""
        return self._subscriptions

    def resync(self, topic: str, seq: int, reason: str) -> None:
        """Tell the client to refetch a topic."""
        if self._session is not None:
            self._service.metrics.resumes.labels(reason).inc()
            self._write(self._session.resync(topic, seq, reason, self._service.history.epoch_ms))

    def beat(self, checked: Mapping[str, int]) -> None:
        """Send a heartbeat with the positions of what was checked, and is complete up to there."""
        positions = {}
        for topic, subscription in self._subscriptions.items():
            position = subscription.feed.position(subscription)
            if position >= checked.get(topic, position + 1):
                positions[topic] = position
        self._write(frames.heartbeat(positions))

    def withdraw(self, revocation: Revocation) -> None:
        """Take back what the client may no longer hear."""
        if self._session is not None:
            self._perform(self._session.withdraw(revocation))

    def send_away(self, retry_after_ms: int) -> None:
        """Close: this process ends."""
        self._close(sessions.going_away(retry_after_ms))

    async def _open(self, scope: Scope) -> None:
        service = self._service
        try:
            ticket_text, since = _read_request(scope)
        except frames.InvalidFrame as problem:
            return self._close(sessions.protocol_broken(f"In the URL: {problem}."))
        ticket = sessions.admit(ticket_text, service.terms, service.now_ms())
        if not isinstance(ticket, Ticket):
            return self._close(ticket)
        self._session = Session(ticket, connection_id=uuid.uuid4().hex, terms=service.terms)
        if (refused := service.clients.add(self, service.now_ms())) is not None:
            service.metrics.limited.labels(f"user_{refused.reason}").inc()
            return self._close(sessions.TOO_MANY_CONNECTIONS)
        if service.draining:
            return self._close(sessions.going_away(service.retry_after_ms()))
        await self._perform_all(self._session.open(since))
        self._set_timer()
        return None

    async def _read(self, receive: Receive) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            if self._session is not None and self._outlet.is_open:
                await self._perform_all(self._react(self._session, message))
            self._outlet.resume_reading()

    def _react(self, session: Session, message: Mapping[str, Any]) -> list[Effect]:
        text = message.get("text")
        if text is None:
            return session.receive_binary()
        effects = session.receive(text, self._service.now_ms())
        self._set_timer()
        return effects

    async def _perform_all(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Join):
                await self._join(effect)
            else:
                self._perform([effect])

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(frame):
                    self._write(frame)
                case Leave(topic):
                    self._unsubscribe(topic)
                case Close():
                    self._close(effect)

    async def _join(self, join: Join) -> None:
        service, session, topic = self._service, cast("Session", self._session), join.topic
        subscription = service.hub.subscribe(topic, self, self._outlet)
        heard_up_to = self._position(topic)
        self._unsubscribe(topic)
        self._joining[topic] = subscription
        retained = await self._read_history(join)
        grant = session.grant(topic)
        if self._joining.get(topic) is not subscription or grant is None:
            # Withdrawn or closed meanwhile; whoever did that has let the subscription go.
            return
        del self._joining[topic]
        if retained is None:
            self._fail_to_join(subscription, session, heard_up_to)
        else:
            resynced = session.was_resynced(topic, retained.epoch_ms)
            request = Request(join.since, grant.seq, grant.issued_at_ms, resynced, subscription.feed.last or 0)
            self._begin(subscription, session, decide(request, retained, service.limits), retained.epoch_ms)

    async def _read_history(self, join: Join) -> Retained | None:
        try:
            return await self._service.read(join.topic, join.since)
        except Unavailable:
            return None

    def _begin(self, subscription: Subscription, session: Session, outcome: Outcome, epoch_ms: int) -> None:
        # No waiting in here: what the hub emits meanwhile would come between the replay and what follows it.
        topic = subscription.feed.topic
        self._subscriptions[topic] = subscription
        self._count(outcome)
        self._write(session.joined(topic, outcome, epoch_ms))
        if isinstance(outcome, Resumed) and outcome.bodies:
            self._outlet.write(outcome.bodies.wire)
        self._service.hub.start(subscription, outcome.seq)

    def _fail_to_join(self, subscription: Subscription, session: Session, heard_up_to: int | None) -> None:
        topic, hub = subscription.feed.topic, self._service.hub
        if heard_up_to is not None:
            # What was heard before goes on where it was.
            self._subscriptions[topic] = subscription
            hub.start(subscription, heard_up_to)
        else:
            hub.unsubscribe(subscription)
        if heard_up_to is None and topic == topics.user(session.user_id):
            # Without its own topic a connection is of no use: better to come back when there is a history.
            self._close(sessions.going_away(self._service.retry_after_ms()))
        else:
            self._perform(session.join_failed(topic, goes_on=heard_up_to is not None))

    def _position(self, topic: str) -> int | None:
        subscription = self._subscriptions.get(topic)
        return None if subscription is None else subscription.feed.position(subscription)

    def _count(self, outcome: Outcome) -> None:
        if isinstance(outcome, Resumed):
            label = "live" if outcome.recovered is None else "recovered"
        else:
            label = outcome.reason
        self._service.metrics.resumes.labels(label).inc()

    def _write(self, frame: Frame) -> None:
        self._outlet.write(text_frame(events.encode(frame)))

    def _close(self, close: Close) -> None:
        if self._outlet.is_open:
            self._service.metrics.closed.labels(str(int(close.code))).inc()
            frame = frames.closing(close.code, reason=close.reason, retry_after_ms=close.retry_after_ms)
            self._outlet.close(close.code, text_frame(events.encode(frame)))
        self._leave()

    def _unsubscribe(self, topic: str) -> None:
        for subscriptions in (self._subscriptions, self._joining):
            if (subscription := subscriptions.pop(topic, None)) is not None:
                self._service.hub.unsubscribe(subscription)

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for topic in [*self._subscriptions, *self._joining]:
            self._unsubscribe(topic)
        self._service.clients.remove(self)
        self._service.client_left()

    def _set_timer(self) -> None:
        session = cast("Session", self._session)
        if self._timer is not None:
            self._timer.cancel()
        if self._outlet.is_open:
            delay_ms = max(session.deadline_ms - self._service.now_ms(), 0)
            self._timer = asyncio.get_running_loop().call_later(delay_ms / 1000, self._tick)

    def _tick(self) -> None:
        session = cast("Session", self._session)
        self._perform(session.tick(self._service.now_ms()))
        self._set_timer()


def _select_subprotocol(scope: Scope) -> str | None:
    return frames.SUBPROTOCOL if frames.SUBPROTOCOL in scope["subprotocols"] else None


def _read_request(scope: Scope) -> tuple[str | None, int | None]:
    query = parse_qs(scope["query_string"].decode("latin-1"))
    since = query.get("since", [None])[-1]
    if since is not None and not (since.isascii() and since.isdigit() and len(since) < 17):
        raise frames.InvalidFrame("since must be an integer from 0")
    ticket = _ticket_of_header(scope) or _ticket_of_subprotocol(scope) or query.get("ticket", [None])[-1]
    return ticket, None if since is None else frames.parse_seq(int(since))


def _ticket_of_header(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            text = value.decode("latin-1")
            return text[len(_BEARER) :].strip() if text.lower().startswith(_BEARER) else None
    return None


def _ticket_of_subprotocol(scope: Scope) -> str | None:
    prefix = frames.TICKET_SUBPROTOCOL
    offered = (name for name in scope["subprotocols"] if name.startswith(prefix))
    return next((name.removeprefix(prefix) for name in offered), None)
