"""The WebSocket consumer: the shell around a `Session`, one for each connection."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast
from urllib.parse import parse_qs

import msgspec
from channels.consumer import AsyncConsumer  # type: ignore[import-untyped]

from broadcast import session as sessions
from broadcast.contracts import events, frames, topics
from broadcast.contracts.frames import Frame
from broadcast.contracts.tickets import Ticket
from broadcast.feed import Subscription
from broadcast.parcel import Parcel, text_frame
from broadcast.resume import Outcome, Resumed
from broadcast.service import Service
from broadcast.session import Close, Effect, Join, Session
from broadcast.shell import OUTLET, Receive, Scope, SendMessage, Shell, ticket_of_header

_encode: Final = msgspec.json.Encoder().encode


class EventConsumer(Shell, AsyncConsumer):  # type: ignore[misc]
    """
    One client. A listener of the hub for each of its topics.

    It has no channel of its own in the channel layer, and events do not pass through here one by one: the hub writes
    them to the `Outlet` directly.
    """

    def __init__(self, service: Service) -> None:
        super().__init__(service)
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

    async def _join(self, join: Join) -> None:
        service, session, topic = self._service, cast("Session", self._session), join.topic
        # Otherwise the replays of several busy topics pile up, however well the client reads.
        await self._outlet.drained(service.settings.ping_timeout_seconds)
        if not self._outlet.is_open or session.grant(topic) is None:
            return
        subscription = service.hub.subscribe(topic, self, self._outlet)
        heard_up_to = self._position(topic)
        self._unsubscribe(topic)
        self._joining[topic] = subscription
        retained = await self._read_history(join)
        if retained is None:
            if self._joining.get(topic) is subscription:
                del self._joining[topic]
                self._fail_to_join(subscription, session, heard_up_to)
        elif (outcome := self._decide(join, subscription, session, retained)) is not None:
            del self._joining[topic]
            self._begin(subscription, session, outcome, retained.epoch_ms)
            if isinstance(outcome, Resumed) and outcome.bodies:
                # Only then does the next one know whether it has to wait.
                self._outlet.settle()

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

    def _write(self, frame: Frame) -> None:
        self._outlet.write(text_frame(_encode(frame)))

    def _close(self, close: Close) -> None:
        if self._outlet.is_open:
            self._service.metrics.closed.labels(str(int(close.code))).inc()
            frame = frames.closing(close.code, reason=close.reason, retry_after_ms=close.retry_after_ms)
            self._outlet.close(close.code, text_frame(events.encode(frame)))
        self._leave()


def _select_subprotocol(scope: Scope) -> str | None:
    return frames.SUBPROTOCOL if frames.SUBPROTOCOL in scope["subprotocols"] else None


def _read_request(scope: Scope) -> tuple[str | None, int | None]:
    query = parse_qs(scope["query_string"].decode("latin-1"))
    since = query.get("since", [None])[-1]
    if since is not None and not (since.isascii() and since.isdigit() and len(since) < 17):
        raise frames.InvalidFrame("since must be an integer from 0")
    ticket = ticket_of_header(scope) or _ticket_of_subprotocol(scope) or query.get("ticket", [None])[-1]
    return ticket, None if since is None else frames.parse_seq(int(since))


def _ticket_of_subprotocol(scope: Scope) -> str | None:
    prefix = frames.TICKET_SUBPROTOCOL
    offered = (name for name in scope["subprotocols"] if name.startswith(prefix))
    return next((name.removeprefix(prefix) for name in offered), None)
