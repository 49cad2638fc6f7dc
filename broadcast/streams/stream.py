"""One event stream: the shell around a `Session` that hears its topics from the beginning, and cannot answer."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, cast

from broadcast import session as sessions
from broadcast.contracts import frames, streams
from broadcast.contracts.frames import Frame
from broadcast.feed import Subscription
from broadcast.parcel import Parcel
from broadcast.publish import Answer
from broadcast.resume import Outcome, Resumed
from broadcast.sending.turn import Written
from broadcast.service import Service
from broadcast.session import Close, Join, Session
from broadcast.shell import OUTLET, Receive, Scope, SendMessage, Shell
from broadcast.streams import admission, cors
from broadcast.streams.outlet import StreamOutlet
from broadcast.web import respond, response_start

_MOVES: Final = frozenset({"subscribed", "resync", "unsubscribed"})
"""Frames after which a client stands elsewhere."""

_REPLAYED_AT_ONCE_BYTES: Final = 64 * 1024

_HEADERS: Final = {
    "Content-Type": streams.CONTENT_TYPE,
    "Cache-Control": "no-store, no-transform",
    # nginx and others would keep it until they have a buffer full.
    "X-Accel-Buffering": "no",
}


class EventStream(Shell):
    """
    One client that only listens. A listener of the hub for each of its topics.

    Whatever keeps it from beginning is an ordinary answer; it begins when the history has answered for the first time.
    ``_seqs`` is where the client stands: what it has been sent, or says it has seen.
    """

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._outlet: StreamOutlet
        self._send: SendMessage
        self._cors: dict[str, str] = {}
        self._seqs: dict[str, int] = {}
        self._moving: str | None = None
        self._beginning = b""
        self._started = False
        self._early: list[Frame] = []
        self._refusal: Close | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: SendMessage) -> None:
        """Serve one connection until it ends (ASGI)."""
        self._outlet, self._send = scope["extensions"][OUTLET], send
        self._outlet.on_full = lambda: self._close(sessions.TOO_SLOW)
        self._cors = cors.headers(scope, self._service.settings.cors_allowed_origins)
        try:
            if (answer := await self._open(scope)) is not None:
                self._service.metrics.refused.labels(str(answer.status)).inc()
                await respond(send, cors.allow(answer, self._cors))
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._leave()
            if self._started:
                self._service.metrics.streams.dec()

    def hear(self, written: Written) -> None:
        """Send what one turn of the loop brought of a topic."""
        if written.endings is None:
            for parcel in written.parcels:
                self.deliver(parcel)
        else:
            last = written.parcels[-1]
            if last.topic != self._moving:
                self._move(last.topic)
            self._seqs[last.topic] = cast("int", last.seq)
            self._outlet.put_joined(self._beginning, written.endings)

    def deliver(self, parcel: Parcel) -> None:
        """Send an event."""
        if parcel.seq is None:
            self._outlet.put(parcel.ending, parcel.progress_key)
        else:
            self._move(parcel.topic)
            self._seqs[parcel.topic] = parcel.seq
            self._outlet.put(self._beginning + parcel.ending)

    def resync(self, topic: str, seq: int, reason: str) -> None:
        """Tell the client to refetch a topic."""
        self._outlet.settle()
        self._stand(topic, seq)
        super().resync(topic, seq, reason)

    async def _open(self, scope: Scope) -> Answer | None:
        """Begin; or give the answer to a client that gets no stream."""
        service = self._service
        admitted = admission.admit(scope, service.terms, service.now_ms())
        if isinstance(admitted, Answer):
            return admitted
        self._session = Session(admitted.ticket, connection_id=uuid.uuid4().hex, terms=service.terms)
        if (refused := service.clients.add(self, service.now_ms())) is not None:
            service.metrics.limited.labels(f"user_{refused.reason}").inc()
            return admission.answer_closed(sessions.TOO_MANY_CONNECTIONS)
        if service.draining:
            return admission.answer_closed(sessions.going_away(service.retry_after_ms()))
        joins = self._session.hear(admitted.since)
        self._seqs = {join.topic: join.since for join in joins if join.since is not None}
        self._early = [_withdrawn(topic) for topic in admitted.since if self._session.grant(topic) is None]
        return await self._follow(joins)

    async def _follow(self, joins: Iterable[Join]) -> Answer | None:
        # One after the other, so that one client never has more than one topic's replay in memory.
        for join in joins:
            subscription = self._joining[join.topic] = self._service.hub.subscribe(join.topic, self, hear=self.hear)
            retained = await self._read_history(join)
            if retained is None:
                self._close(sessions.going_away(self._service.retry_after_ms()))
            if self._refusal is not None:
                return admission.answer_closed(self._refusal)
            if retained is None or not self._outlet.is_open:
                return None
            await self._start()
            session = cast("Session", self._session)
            if (outcome := self._decide(join, subscription, session, retained)) is None:
                self._forget(subscription)
            else:
                await self._begin(subscription, session.joined(join.topic, outcome, retained.epoch_ms), outcome)
        await self._start()
        return None

    def _forget(self, subscription: Subscription) -> None:
        # Withdrawn before its turn came: `_unsubscribe` did not know it yet, or has let it go already.
        self._joining.pop(subscription.feed.topic, None)
        self._service.hub.unsubscribe(subscription)

    async def _start(self) -> None:
        if self._started:
            return
        self._started = True
        self._service.metrics.streams.inc()
        await self._send(response_start(200, {**_HEADERS, **self._cors}))
        welcome = cast("Session", self._session).welcome()
        retry_ms = self._service.retry_after_ms()
        self._outlet.put(streams.message(welcome, positions=self._positions() or None, retry_ms=retry_ms))
        for frame in self._early:
            self._write(frame)
        self._set_timer()

    async def _begin(self, subscription: Subscription, frame: Frame, outcome: Outcome) -> None:
        topic = subscription.feed.topic
        bodies = outcome.bodies if isinstance(outcome, Resumed) else []
        self._count(outcome)
        self._stand(topic, outcome.seq - len(bodies))
        self._write(frame)
        await self._replay(topic, bodies)
        if self._joining.get(topic) is subscription:
            # No waiting from here on: what the hub emits meanwhile would come before what was held back.
            self._subscriptions[topic] = self._joining.pop(topic)
            self._service.hub.start(subscription, outcome.seq)

    async def _replay(self, topic: str, bodies: Sequence[bytes]) -> None:
        seq = self._seqs.get(topic, 0)
        for endings in _in_pieces(bodies, topic=topic, after=seq):
            await self._drained()
            if topic not in self._joining:
                return
            seq += len(endings)
            self._move(topic)
            self._seqs[topic] = seq
            self._outlet.put_joined(self._beginning, endings)

    async def _drained(self) -> None:
        if not await self._outlet.drained(self._service.settings.ping_timeout_seconds):
            self._close(sessions.TOO_SLOW)

    def _move(self, topic: str) -> None:
        # As long as only one topic moves, the positions of the others are the same bytes.
        if topic != self._moving:
            self._moving = topic
            others = [streams.position(name, seq) for name, seq in self._seqs.items() if name != topic]
            self._beginning = streams.beginning(others)

    def _stand(self, topic: str, seq: int) -> None:
        self._seqs[topic], self._moving = seq, None

    def _positions(self) -> list[bytes]:
        return [streams.position(topic, seq) for topic, seq in self._seqs.items()]

    def _write(self, frame: Frame) -> None:
        if not self._started:
            self._early.append(frame)
        else:
            self._outlet.settle()
            positions = self._positions() if frame["type"] in _MOVES else None
            self._outlet.put(streams.message(frame, positions=positions))

    def _close(self, close: Close) -> None:
        if not self._started:
            self._refusal = self._refusal or close
        elif self._outlet.is_open:
            self._service.metrics.closed.labels(str(int(close.code))).inc()
            frame = frames.closing(close.code, reason=close.reason, retry_after_ms=close.retry_after_ms)
            self._outlet.close(close.code, streams.message(frame, retry_ms=close.retry_after_ms or None))
        self._leave()

    def _unsubscribe(self, topic: str) -> None:
        self._outlet.settle()
        super()._unsubscribe(topic)
        self._seqs.pop(topic, None)
        self._moving = None


def _in_pieces(bodies: Sequence[bytes], *, topic: str, after: int) -> Iterator[list[bytes]]:
    """Make the endings of events that follow one another, so many at a time as are written in one go."""
    piece: list[bytes] = []
    size = 0
    for seq, body in enumerate(bodies, after + 1):
        piece.append(streams.ending(body, topic=topic, seq=seq))
        size += len(piece[-1])
        if size > _REPLAYED_AT_ONCE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _withdrawn(topic: str) -> Frame:
    return frames.unsubscribed(topic, code=frames.ACCESS_WITHDRAWN)
