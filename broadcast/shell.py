"""What surrounds the `Session` of any client, whatever it is connected by: a WebSocket or an event stream."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, cast

from broadcast import session as sessions
from broadcast.contracts import frames
from broadcast.contracts.frames import Frame
from broadcast.feed import Subscription
from broadcast.history import Unavailable
from broadcast.outlet import Outlet
from broadcast.resume import Outcome, Request, Resumed, Retained, decide
from broadcast.revocations import Revocation
from broadcast.service import Service
from broadcast.session import Close, Effect, Join, Leave, Send, Session

OUTLET: Final = "coursehub.outlet"
"""The ASGI extension by which the server hands over a connection's `Outlet`."""

_BEARER: Final = "bearer "

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
SendMessage = Callable[[dict[str, Any]], Awaitable[None]]


def ticket_of_header(scope: Scope) -> str | None:
    """Read the ticket that a client sent as a bearer token."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            text = value.decode("latin-1")
            return text[len(_BEARER) :].strip() if text.lower().startswith(_BEARER) else None
    return None


class Shell(ABC):
    """
    One client, as the service and the hub see it. It performs what its session decides.

    ``_joining``: subscriptions whose history is being read; they are not started yet.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._session: Session | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._joining: dict[str, Subscription] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._deadline_ms = 0
        self._outlet: Outlet

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

    @abstractmethod
    def _write(self, frame: Frame) -> None:
        """Send a frame."""

    @abstractmethod
    def _close(self, close: Close) -> None:
        """Tell the client why, and close."""

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(frame):
                    self._write(frame)
                case Leave(topic):
                    self._unsubscribe(topic)
                case Close():
                    self._close(effect)

    async def _read_history(self, join: Join) -> Retained | None:
        try:
            return await self._service.read(join.topic, join.since)
        except Unavailable:
            return None

    def _decide(self, join: Join, subscription: Subscription, session: Session, retained: Retained) -> Outcome | None:
        """Decide how a subscription begins; None: it was withdrawn while the history was read."""
        grant = session.grant(join.topic)
        if self._joining.get(join.topic) is not subscription or grant is None:
            return None
        resynced = session.was_resynced(join.topic, retained.epoch_ms)
        request = Request(join.since, grant.seq, grant.issued_at_ms, resynced, subscription.feed.last or 0)
        return decide(request, retained, self._service.limits)

    def _count(self, outcome: Outcome) -> None:
        if isinstance(outcome, Resumed):
            label = "live" if outcome.recovered is None else "recovered"
        else:
            label = outcome.reason
        self._service.metrics.resumes.labels(label).inc()

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
        deadline_ms = cast("Session", self._session).deadline_ms
        if self._timer is not None:
            if deadline_ms == self._deadline_ms and self._outlet.is_open:
                return
            self._timer.cancel()
        if self._outlet.is_open:
            self._deadline_ms = deadline_ms
            delay_ms = max(deadline_ms - self._service.now_ms(), 0)
            self._timer = asyncio.get_running_loop().call_later(delay_ms / 1000, self._tick)

    def _tick(self) -> None:
        session = cast("Session", self._session)
        self._timer = None
        self._perform(session.tick(self._service.now_ms()))
        self._set_timer()
