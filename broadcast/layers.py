"""
Channel layers: how an event that one process took reaches the others.

Each process has one channel in each layer, and one group membership for each topic that somebody listens to here.
A layer may lose, double or reorder: the hub notices by ``seq``. That a layer has gone silent altogether is noticed by
beacons, messages that each process sends itself: one that is missing means that others may be, too.
"""

import asyncio
import logging
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from broadcast.redis_layer import PipeliningLayer
from broadcast.together import end, together

log = logging.getLogger(__name__)

Message = dict[str, Any]
Outgoing = tuple[list[tuple[str, Message]], "asyncio.Future[None]"]
"""Messages, each with its group, and what is done when they have been tried."""

_CONTROL_GROUP: Final = "control"
_BEACON: Final = "beacon"
_JOINED_AT_ONCE: Final = 500
_SILENT_PERIODS: Final = 4
_QUEUE_LENGTH: Final = 10_000
_SENT_AT_ONCE: Final = 256
_KEPT_MESSAGES: Final = 256
_TEARDOWN_SECONDS: Final = 2


class ChannelLayer(Protocol):
    """What is used of Channels' channel layer interface."""

    async def new_channel(self) -> str:
        """Name a channel of this process."""

    async def receive(self, channel: str) -> Message:
        """Wait for the next message on a channel of this process."""

    async def send(self, channel: str, message: Message) -> None:
        """Send to one channel."""

    async def group_add(self, group: str, channel: str) -> None:
        """Let a channel hear a group."""

    async def group_discard(self, group: str, channel: str) -> None:
        """Let a channel hear a group no longer."""

    async def group_send(self, group: str, message: Message) -> None:
        """Send to all channels of a group."""

    async def flush(self) -> None:
        """Close all connections and forget everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """
    What a layer tells the service.

    ``on_loss`` gets the topics of which messages may have been lost: each time that a layer lost something, or failed.
    ``on_lag`` gets the seconds that a message took; while none comes back, how long the oldest has been under way.
    ``lasting`` says what of a message may still be sent when the layer has been away, None: nothing.
    """

    on_message: Callable[[Message], None]
    on_loss: Callable[[Sequence[str]], None]
    on_lag: Callable[[float], None]
    lasting: Callable[[Message], Message | None]


def group_of(topic: str) -> str:
    """Name the group of a topic; group names know no colon."""
    return topic.replace(":", ".")


class Node:
    """
    One channel layer, kept alive: rebuilt when it falls silent.

    What it could not send and is still true later it keeps, within bounds, and sends when it has joined again: who
    hears the others well does not know that one of them could not speak.
    """

    def __init__(self, make_layer: Callable[[], ChannelLayer], handlers: Handlers, *, beacon_seconds: float) -> None:
        self._make_layer = make_layer
        self._handlers = handlers
        self._beacon_seconds = beacon_seconds
        self._outgoing: asyncio.Queue[Outgoing] = asyncio.Queue(_QUEUE_LENGTH)
        self._kept: deque[tuple[str, Message]] = deque(maxlen=_KEPT_MESSAGES)
        self._carries = asyncio.Event()
        self._membership_lock = asyncio.Lock()
        self._wanted: set[str] = set()
        self._joined: set[str] = set()
        self._changed: dict[str, None] = {}
        self._opening: dict[str, asyncio.Future[None]] = {}
        self._adjusting: asyncio.Task[None] | None = None
        self._layer: ChannelLayer | None = None
        self._channel = ""
        self._sent = self._heard = 0
        self._asked_at: float | None = None
        self._silent_periods = 0
        self._broken = False
        self._has_joined = False

    async def run(self) -> None:
        """Carry messages until cancelled."""
        while True:
            try:
                await self._live()
            except Exception:
                log.warning("A channel layer failed; it is built anew", exc_info=True)
                self._report_silence()
                self._handlers.on_loss(list(self._wanted))
                await asyncio.sleep(self._beacon_seconds)

    def open(self, topic: str) -> None:
        """Begin to hear a topic's group."""
        self._wanted.add(topic)
        if topic not in self._opening or topic not in self._changed:
            # Otherwise the next round is still to come, and tells those who wait already.
            self._opening[topic] = asyncio.get_running_loop().create_future()
        self._note(topic)

    def close(self, topic: str) -> None:
        """Stop hearing a topic's group."""
        self._wanted.discard(topic)
        self._note(topic)

    async def opened(self, topic: str) -> None:
        """Wait until a topic's group is heard, or cannot be for now."""
        if (opening := self._opening.get(topic)) is not None:
            await asyncio.shield(opening)

    def publish(self, messages: Iterable[tuple[str | None, Message]]) -> "asyncio.Future[None]":
        """
        Queue messages, each to its topic's group, or (None) to every process; the future is done when all were tried.

        While the layer is away that is at once.
        """
        tried = asyncio.get_running_loop().create_future()
        outgoing = [(_CONTROL_GROUP if topic is None else group_of(topic), message) for topic, message in messages]
        if not self._carries.is_set():
            self._keep(outgoing)
            tried.set_result(None)
            return tried
        try:
            self._outgoing.put_nowait((outgoing, tried))
        except asyncio.QueueFull:
            # The history has them; the others see the gap, at the latest by their next heartbeat.
            tried.set_result(None)
        return tried

    async def _live(self) -> None:
        self._ask()
        self._layer = layer = self._make_layer()
        try:
            self._channel = await layer.new_channel()
            self._silent_periods, self._broken, self._has_joined = 0, False, False
            await together(
                self._read(layer, self._channel), self._write(layer), self._beat(layer), self._stay_joined(layer)
            )
        finally:
            self._layer = None
            self._set_aside()
            await _close(layer)

    async def _read(self, layer: ChannelLayer, channel: str) -> None:
        while True:
            messages = await _receive_all(layer, channel)
            self._silent_periods = 0
            for message in messages:
                if message["type"] == _BEACON:
                    self._hear(message)
                else:
                    self._handlers.on_message(message)

    async def _write(self, layer: ChannelLayer) -> None:
        await self._carries.wait()
        # Not kept a second time: a message that no layer takes would keep every layer from living.
        kept = list(self._kept)
        self._kept.clear()
        await _group_send_all(layer, kept)
        while True:
            await self._send(layer, await self._outgoing.get())

    async def _send(self, layer: ChannelLayer, outgoing: Outgoing) -> None:
        messages, tried = outgoing
        first = 0
        try:
            for first in range(0, len(messages), _SENT_AT_ONCE):
                await _group_send_all(layer, messages[first : first + _SENT_AT_ONCE])
        except BaseException:
            self._keep(messages[first:])
            raise
        finally:
            _tell_tried(tried)

    def _keep(self, messages: Sequence[tuple[str, Message]]) -> None:
        lasting = [(group, self._handlers.lasting(message)) for group, message in messages]
        self._kept.extend((group, message) for group, message in lasting if message is not None)

    def _set_aside(self) -> None:
        self._carries.clear()
        while not self._outgoing.empty():
            messages, tried = self._outgoing.get_nowait()
            self._keep(messages)
            _tell_tried(tried)

    async def _beat(self, layer: ChannelLayer) -> None:
        sending = asyncio.create_task(self._send_beacon(layer))
        try:
            while not self._broken and self._silent_periods < _SILENT_PERIODS:
                await asyncio.sleep(self._beacon_seconds)
                self._silent_periods += 1
                self._report_silence()
                if sending.done():
                    sending.result()
                    sending = asyncio.create_task(self._send_beacon(layer))
        finally:
            await end([sending])
        raise TimeoutError("a membership failed, or no beacon came back")

    async def _send_beacon(self, layer: ChannelLayer) -> None:
        # Beside the queue: that many messages wait there does not mean that the layer is silent.
        self._sent += 1
        await layer.send(self._channel, {"type": _BEACON, "number": self._sent, "at": self._ask()})

    def _ask(self) -> float:
        now = asyncio.get_running_loop().time()
        if self._asked_at is None:
            self._asked_at = now
        return now

    def _report_silence(self) -> None:
        if self._asked_at is not None:
            self._handlers.on_lag(asyncio.get_running_loop().time() - self._asked_at)

    def _hear(self, beacon: Message) -> None:
        self._asked_at = None
        self._handlers.on_lag(asyncio.get_running_loop().time() - beacon["at"])
        skipped, self._heard = beacon["number"] != self._heard + 1, beacon["number"]
        # What came before a new layer's memberships took effect is lost like what a layer dropped.
        if (skipped or self._has_joined) and self._wanted:
            self._handlers.on_loss(list(self._wanted))
        self._has_joined = False

    async def _stay_joined(self, layer: ChannelLayer) -> None:
        async with self._membership_lock:
            self._joined.clear()
            await layer.group_add(_CONTROL_GROUP, self._channel)
            topics = list(self._wanted)
            await _group_add_all(layer, topics, self._channel)
            self._joined.update(topics)
        self._has_joined = True
        self._carries.set()
        await asyncio.Event().wait()

    def _note(self, topic: str) -> None:
        self._changed[topic] = None
        if self._adjusting is None or self._adjusting.done():
            self._adjusting = asyncio.create_task(self._adjust_all())

    async def _adjust_all(self) -> None:
        # In rounds, each by what is wanted when it begins: the last one is always right.
        while self._changed:
            async with self._membership_lock:
                changed, self._changed = list(self._changed), {}
                opening = {topic: self._opening[topic] for topic in changed if topic in self._opening}
                await self._adjust(changed)
            for topic, opened in opening.items():
                opened.set_result(None)
                if self._opening.get(topic) is opened:
                    del self._opening[topic]

    async def _adjust(self, topics: Sequence[str]) -> None:
        layer = self._layer
        if layer is None:
            return
        come = [topic for topic in topics if topic in self._wanted and topic not in self._joined]
        gone = [topic for topic in topics if topic not in self._wanted and topic in self._joined]
        try:
            await _group_add_all(layer, come, self._channel)
            self._joined.update(come)
            await _group_discard_all(layer, gone, self._channel)
            self._joined.difference_update(gone)
        except Exception:
            # Built anew, the layer joins whatever is wanted; until then heartbeats heal.
            log.warning("Channel layer memberships failed", extra={"topics": len(topics)}, exc_info=True)
            self._broken = True


def _tell_tried(tried: "asyncio.Future[None]") -> None:
    if not tried.done():
        tried.set_result(None)


async def _receive_all(layer: ChannelLayer, channel: str) -> list[Message]:
    if isinstance(layer, PipeliningLayer):
        return await layer.receive_all(channel)
    return [await layer.receive(channel)]


async def _group_add_all(layer: ChannelLayer, topics: Sequence[str], channel: str) -> None:
    groups = [group_of(topic) for topic in topics]
    if isinstance(layer, PipeliningLayer):
        for first in range(0, len(groups), _JOINED_AT_ONCE):
            await layer.group_add_all(groups[first : first + _JOINED_AT_ONCE], channel)
    else:
        for group in groups:
            await layer.group_add(group, channel)


async def _group_discard_all(layer: ChannelLayer, topics: Sequence[str], channel: str) -> None:
    groups = [group_of(topic) for topic in topics]
    if isinstance(layer, PipeliningLayer):
        for first in range(0, len(groups), _JOINED_AT_ONCE):
            await layer.group_discard_all(groups[first : first + _JOINED_AT_ONCE], channel)
    else:
        for group in groups:
            await layer.group_discard(group, channel)


async def _group_send_all(layer: ChannelLayer, messages: Sequence[tuple[str, Message]]) -> None:
    if isinstance(layer, PipeliningLayer):
        await layer.group_send_all(messages)
    else:
        for group, message in messages:
            await layer.group_send(group, message)


async def _close(layer: ChannelLayer) -> None:
    # Not awaited beyond a limit, nor cancelled: a layer that hangs may hang in its clean-up, too.
    closing = asyncio.ensure_future(layer.flush())
    closing.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait([closing], timeout=_TEARDOWN_SECONDS)


class Layers:
    """All channel layers of this process; a topic belongs to one of them."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes

    @property
    def nodes(self) -> Sequence[Node]:
        """The layers, in the order of their URLs."""
        return self._nodes

    def node(self, topic: str) -> Node:
        """Find the layer that carries a topic; the same in every process with the same list of layers."""
        return self._nodes[zlib.crc32(topic.encode()) % len(self._nodes)]

    def publish_to_all(self, message: Message) -> None:
        """Send a message to every process."""
        for node in self._nodes:
            node.publish([(None, message)])

    async def run(self) -> None:
        """Keep all layers alive until cancelled."""
        await together(*(node.run() for node in self._nodes))
