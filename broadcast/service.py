"""The broadcast service, put together: what the bridge and the sockets share, and what runs in the background."""

import asyncio
import contextlib
import logging
import random
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

from broadcast import parcel, revocations
from broadcast.bundles import Bundler
from broadcast.clients import Clients
from broadcast.config import Settings
from broadcast.contracts import tickets
from broadcast.contracts.tickets import Ticket
from broadcast.healing import Healer
from broadcast.history import History, Unavailable, connect
from broadcast.hub import Change, Hub
from broadcast.layers import ChannelLayer, Handlers, Layers, Message, Node
from broadcast.limits import Pace
from broadcast.metrics import Metrics
from broadcast.parcel import Packed, Parcel
from broadcast.reading import Reader
from broadcast.redis_layer import redis_layer
from broadcast.resume import Limits, Retained
from broadcast.revocations import Revocation, Revocations
from broadcast.sending import native
from broadcast.sending.turn import Turn, Written
from broadcast.session import Terms
from broadcast.together import together

log = logging.getLogger(__name__)

_EVENTS = "events"
_CONTROL = "control"
_MOST_SLOTS = 25
_BEATS_AT_ONCE = 20


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Service:
    """
    One process of the broadcast service.

    ``ready``: Redis answered lately. ``draining``: the process is leaving and takes no new clients.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        make_layer: Callable[[str], ChannelLayer] | None = None,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self.settings = settings
        self.now_ms = now_ms
        self.ready = False
        self.draining = False
        self.metrics = Metrics()
        self.revocations = Revocations()
        self.limits = Limits(replay=settings.replay_limit, kept=settings.history_length)
        self._origin = uuid.uuid4().hex
        self._slots = max(1, min(_MOST_SLOTS, int(settings.heartbeat_seconds)))
        self.clients = Clients(
            per_user=settings.connections_per_user,
            per_second=settings.connects_per_second_per_user,
            slots=self._slots,
        )
        self.turn = Turn(native.choose(native=settings.native, directory=Path(settings.cache).expanduser()))
        self.hub = Hub(on_change=self._on_change, capacity=settings.history_length, turn=self.turn)
        self.hub.watch(self.metrics.emitted.count)
        self.hub.watch(_log_emitted)
        self.history = History(
            connect(settings.redis_url, timeout_seconds=settings.redis_timeout_seconds),
            length=settings.history_length,
            seconds=settings.history_seconds,
            size_bytes=settings.history_bytes,
            on_new_epoch=self._on_new_epoch,
        )
        self._reader = Reader(
            self.history,
            limit=settings.replay_limit,
            limit_bytes=settings.replay_bytes,
            on_read=self.hub.note_replayed,
        )
        self._healer = Healer(self.hub, self.history, self.metrics, limit=settings.history_length)
        make = make_layer or partial(redis_layer, timeout_seconds=settings.redis_timeout_seconds, origin=self._origin)
        self._layers = Layers(
            [self._make_node(number, partial(make, url)) for number, url in enumerate(settings.channel_layer_urls)]
        )
        self._bundlers = {node: self._make_bundler(node) for node in self._layers.nodes}
        self.terms = Terms(
            read_ticket=self._read_ticket,
            revocations=self.revocations,
            heartbeat_seconds=settings.heartbeat_seconds,
            expiring_ms=int(settings.expiring_seconds * 1000),
            topics_per_connection=settings.topics_per_connection,
            frame_pace=Pace(settings.frames_per_second, 3 * settings.topics_per_connection),
            subscribe_pace=Pace(settings.subscribes_per_second, 2 * settings.topics_per_connection),
            on_limited=lambda limit: self.metrics.limited.labels(limit).inc(),
        )
        self._control_id = "0"
        self._was_away = False
        self._left = asyncio.Event()
        self._measure()

    async def run(self) -> None:
        """Run what goes on in the background until cancelled."""
        log.info("Sending", extra={"loop": self.turn.loop.name})
        try:
            bundlers = [bundler.run() for bundler in self._bundlers.values()]
            await together(self._pulse(), self._beat(), self._healer.run(), self._layers.run(), *bundlers)
        finally:
            self.ready = False
            with contextlib.suppress(Exception):
                await self.history.close()

    async def take(
        self, parcels: Sequence[Parcel], withdrawn: Sequence[Revocation], *, oldest_ms: int | None = None
    ) -> int:
        """
        Take a batch of events and revocations in, and send it to all processes; returns how many were duplicates.

        Duplicates are sent on again: whoever took them first may have died before it did. ``oldest_ms``: the earliest
        timestamp of the events, for the metrics.

        Raises:
            Gaps: events are missing before these.
            Unavailable: Redis is.
        """
        durable = [each for each in parcels if each.seq is not None]
        duplicates = 0
        if durable or withdrawn:
            duplicates = await self.history.append(durable, withdrawn=withdrawn, now_ms=self.now_ms())
        if oldest_ms is not None:
            self.metrics.ingest_delay.observe(max(self.now_ms() - oldest_ms, 0) / 1000)
        for revocation in withdrawn:
            self._withdraw(revocation)
        self._tell_of(withdrawn)
        for bundler in self.pass_on(parcels):
            await bundler.relieved()
        return duplicates

    def pass_on(self, parcels: Sequence[Parcel]) -> Iterable[Bundler]:
        """Send events that need not be remembered, or are, to all processes; returns who sends them to the others."""
        for taken in parcels:
            self._emit(taken)
        used: dict[Bundler, None] = {}
        for taken in parcels:
            bundler = self._bundlers[self._layers.node(taken.topic)]
            bundler.add(taken)
            used[bundler] = None
        return used

    async def read(self, topic: str, since: int | None) -> Retained:
        """
        Read a topic's history once this process is sure to hear what comes after.

        Raises:
            Unavailable: Redis is.
        """
        await self._layers.node(topic).opened(topic)
        retained = await self._reader.read(topic, since)
        if retained.last is not None:
            self.hub.settle(topic, retained.last)
        return retained

    async def check_ready(self) -> bool:
        """Ask Redis whether it is there; True when it is, and this process has caught up with it."""
        try:
            await self.history.ping()
        except Unavailable as problem:
            self._note_away(problem)
        return self.ready

    def client_left(self) -> None:
        """Be told that a client is gone."""
        if self.draining and not len(self.clients):
            self._left.set()

    def retry_after_ms(self) -> int:
        """Choose when a client should come back, spread so that not all come at once."""
        return random.randint(500, 500 + int(self.settings.reconnect_spread_seconds * 1000))  # noqa: S311

    async def drain(self) -> None:
        """Take no more clients, send those that are here away, and wait until they have left, within bounds."""
        self.draining = True
        log.info("Draining", extra={"clients": len(self.clients)})
        linger = asyncio.create_task(asyncio.sleep(self.settings.drain_linger_seconds))
        for client in self.clients.all():
            client.send_away(self.retry_after_ms())
            await asyncio.sleep(0)
        self.client_left()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._left.wait(), self.settings.drain_seconds)
        await linger
        log.info("Drained", extra={"clients": len(self.clients)})

    def _read_ticket(self, text: str, now_ms: int) -> Ticket:
        return tickets.read(text, secret=self.settings.ticket_secret, now_ms=now_ms)

    def _make_node(self, number: int, make_layer: Callable[[], ChannelLayer]) -> Node:
        losses = self.metrics.layer_losses.labels(str(number))

        def on_loss(topics: Sequence[str]) -> None:
            losses.inc()
            for topic in topics:
                self._healer.look_again(topic)

        handlers = Handlers(
            on_message=self._on_message,
            on_loss=on_loss,
            on_lag=self.metrics.layer_lag.labels(str(number)).set,
            lasting=_lasting,
        )
        return Node(make_layer, handlers, beacon_seconds=self.settings.beacon_seconds)

    def _make_bundler(self, node: Node) -> Bundler:
        def publish(bundle: Sequence[tuple[str, list[Packed]]]) -> "asyncio.Future[None]":
            same = {"type": _EVENTS, "origin": self._origin, "at": self.now_ms()}
            return node.publish([(topic, {**same, "topic": topic, "events": events}) for topic, events in bundle])

        return Bundler(publish, on_drop=self.metrics.dropped.labels("layer_full").inc)

    def _tell_of(self, withdrawn: Sequence[Revocation]) -> None:
        if withdrawn:
            encoded = [revocation.encode() for revocation in withdrawn]
            self._layers.publish_to_all({"type": _CONTROL, "origin": self._origin, "revocations": encoded})

    def _on_message(self, message: Message) -> None:
        if message["origin"] == self._origin:
            return
        if message["type"] == _CONTROL:
            for encoded in message["revocations"]:
                self._withdraw(revocations.decode(encoded))
            return
        self.metrics.layer_seconds.observe(max(self.now_ms() - message["at"], 0) / 1000)
        for packed in message["events"]:
            self._emit(parcel.unpack(packed, topic=message["topic"]))

    def _emit(self, taken: Parcel) -> None:
        outcome = self.hub.emit(taken)
        if outcome is not None and outcome.value in ("duplicate", "stale"):
            self.metrics.dropped.labels(outcome.value).inc()

    def _withdraw(self, revocation: Revocation) -> None:
        if self.revocations.add(revocation, now_ms=self.now_ms()):
            for client in self.clients.of_user(revocation.user_id):
                client.withdraw(revocation)

    def _on_change(self, change: Change, topic: str) -> None:
        match change:
            case Change.OPENED:
                self._layers.node(topic).open(topic)
                self._healer.look_again(topic)
            case Change.CLOSED:
                self._layers.node(topic).close(topic)
            case Change.GAP:
                self._healer.report(topic)

    def _on_new_epoch(self) -> None:
        log.warning("The history was lost; all clients are told to resync")
        self.metrics.epochs.inc()
        self._control_id = "0"
        self._was_away = True
        self.hub.lose()

    async def _pulse(self) -> None:
        while True:
            try:
                await self._look_at_redis()
                self.ready = True
            except Unavailable as problem:
                self._note_away(problem)
            await asyncio.sleep(self.settings.pulse_seconds)

    def _note_away(self, problem: Exception) -> None:
        if self.ready:
            log.warning("Redis is away", extra={"problem": str(problem)})
        self.ready, self._was_away = False, True

    async def _look_at_redis(self) -> None:
        await self.history.check()
        await self._hear_of_revocations()
        if self._was_away:
            # Others may have forgotten with Redis what this process remembers.
            await self.history.append([], withdrawn=self.revocations.all(), now_ms=self.now_ms())
            await self._healer.catch_up(self.hub.topics())
            self._was_away = False
        self.revocations.forget_expired(now_ms=self.now_ms())

    async def _hear_of_revocations(self) -> None:
        heard: list[Revocation] | None = None
        while heard is None or heard:
            self._control_id, heard = await self.history.revocations_after(self._control_id)
            for revocation in heard:
                self._withdraw(revocation)

    async def _beat(self) -> None:
        for slot in cycle(range(self._slots)):
            await asyncio.sleep(self.settings.heartbeat_seconds / self._slots)
            clients = self.clients.in_slot(slot)
            topics = {topic for client in clients for topic in client.topics}
            try:
                positions = await self._healer.catch_up(topics) if topics else {}
                checked = {topic: positions.get(topic, 0) for topic in topics}
            except Unavailable:
                checked = {}
            for number, client in enumerate(clients):
                client.beat(checked)
                if number % _BEATS_AT_ONCE == _BEATS_AT_ONCE - 1:
                    # Events have their turn in between.
                    await asyncio.sleep(0)

    def _measure(self) -> None:
        self.metrics.measure(self.metrics.connections, lambda: len(self.clients))
        self.metrics.measure(self.metrics.listeners, self.hub.listener_count)
        self.metrics.measure(self.metrics.topics, lambda: len(self.hub.topics()))
        self.metrics.measure(self.metrics.laggards, lambda: self.turn.lines.laggards)
        self.turn.lines.on_superseded = self.metrics.dropped.labels("superseded").inc
        self.metrics.send_loop.labels(self.turn.loop.name).set(1)
        self.metrics.measure_lag(lambda: len(self._behind()), lambda: sum(self._behind()))

    def _behind(self) -> list[int]:
        feeds = filter(None, map(self.hub.feed, self.hub.topics()))
        return [feed.newest - (feed.last or 0) for feed in feeds if feed.behind]


def _lasting(message: Message) -> Message | None:
    """Leave progress out: by the time a layer is back others may have told newer, or what it led to."""
    if message["type"] != _EVENTS:
        return message
    durable = [packed for packed in message["events"] if parcel.is_durable(packed)]
    return {**message, "events": durable} if durable else None


def _log_emitted(written: Sequence[Written]) -> None:
    if not log.isEnabledFor(logging.INFO):
        return
    for each, count in [(each, len(each.parcels)) for each in written if each.deliveries]:
        for taken in [taken for taken in each.parcels if taken.seq is not None]:
            log.info(
                "Emitted",
                extra={
                    "operationId": taken.operation_id,
                    "type": taken.type,
                    "topic": taken.topic,
                    "seq": taken.seq,
                    "listeners": (each.deliveries - each.failed) // count,
                    "seconds": round(each.seconds / count, 6),
                },
            )
