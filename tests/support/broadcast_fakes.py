"""Stand-ins for what the broadcast service owns: listeners, a transport, and channel layers that lose things."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from broadcast import parcel
from broadcast.contracts import events
from broadcast.parcel import Parcel

Message = dict[str, Any]

TOPIC = "course:01890a5d-ac96-774b-bcce-b302099a8057"


def make_parcel(
    seq: int | None,
    *,
    topic: str = TOPIC,
    type_: str = "chapter-update-complete",
    operation_id: str = "save-1",
    **data: Any,
) -> Parcel:
    """Make a parcel as the bridge does."""
    event = events.envelope(
        type_=type_, topic=topic, operation_id=operation_id, seq=seq, timestamp=1_760_000_000_000, data=data
    )
    return parcel.from_event(event, topic=topic)


class RecordingListener:
    """Keeps what it hears: a seq for each event, ("resync", seq) where it was told to refetch."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.parcels: list[Parcel] = []

    def deliver(self, taken: Parcel) -> None:
        """Keep an event."""
        self.heard.append(taken.seq)
        self.parcels.append(taken)

    def resync(self, topic: str, seq: int, reason: str) -> None:
        """Keep a resync."""
        self.heard.append(("resync", seq))


class FailingListener(RecordingListener):
    """Raises at whatever it hears."""

    def deliver(self, taken: Parcel) -> None:
        """Raise."""
        raise RuntimeError("this listener is broken")


class FakeTransport:
    """A transport that is full when a test says so."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.producer: Any = None
        self.pause_after: int | None = None

    def write(self, data: bytes) -> None:
        """Keep what is written; pause the producer after so many writes."""
        self.written.append(data)
        if self.pause_after is not None:
            self.pause_after -= 1
            if self.pause_after <= 0:
                self.producer.pauseProducing()

    def registerProducer(self, producer: object, streaming: bool) -> None:  # noqa: N802
        """Remember who is to be paused."""
        self.producer = producer

    def unregisterProducer(self) -> None:  # noqa: N802
        """Forget who is to be paused."""
        self.producer = None


class Network:
    """Channel layers in memory, with a fault for each message: lost, doubled, or late."""

    def __init__(self, seed: int = 0, *, loss: float = 0, doubling: float = 0, shuffling: float = 0) -> None:
        self._random = random.Random(seed)
        self._loss, self._doubling, self._shuffling = loss, doubling, shuffling
        self._groups: dict[str, set[str]] = defaultdict(set)
        self._queues: dict[str, asyncio.Queue[Message]] = {}
        self.lost = 0
        self.down = False

    def layer(self, _url: str = "") -> "MemoryLayer":
        """Make one process's layer."""
        return MemoryLayer(self)

    def join(self, group: str, channel: str) -> None:
        """Let a channel hear a group."""
        self._groups[group].add(channel)

    def leave(self, group: str, channel: str) -> None:
        """Let a channel hear a group no longer."""
        self._groups[group].discard(channel)

    def members(self, group: str) -> set[str]:
        """List the channels of a group."""
        return set(self._groups[group])

    def queue(self, channel: str) -> "asyncio.Queue[Message]":
        """Find a channel's messages."""
        return self._queues.setdefault(channel, asyncio.Queue())

    def send(self, channel: str, message: Message) -> None:
        """Carry a message, or not."""
        if self.down:
            raise ConnectionError("the layer is down")
        chance = self._random.random()
        if message["type"] == "events" and chance < self._loss:
            self.lost += 1
            return
        for _ in range(2 if chance > 1 - self._doubling else 1):
            delay = self._random.random() * self._shuffling
            asyncio.get_running_loop().call_later(delay, self.queue(channel).put_nowait, message)

    def group_send(self, group: str, message: Message) -> None:
        """Carry a message to each member."""
        for channel in self.members(group):
            self.send(channel, message)
        if self.down:
            raise ConnectionError("the layer is down")


class MemoryLayer:
    """Channels' channel layer interface on a `Network`."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def new_channel(self) -> str:
        """Name a channel."""
        return f"channel-{id(self)}"

    async def receive(self, channel: str) -> Message:
        """Wait for a message."""
        return await self._network.queue(channel).get()

    async def send(self, channel: str, message: Message) -> None:
        """Send to one channel."""
        self._network.send(channel, message)

    async def group_add(self, group: str, channel: str) -> None:
        """Join a group."""
        if self._network.down:
            raise ConnectionError("the layer is down")
        self._network.join(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Leave a group."""
        self._network.leave(group, channel)

    async def group_send(self, group: str, message: Message) -> None:
        """Send to a group."""
        self._network.group_send(group, message)

    async def flush(self) -> None:
        """Forget."""


Factory = Callable[[str], MemoryLayer]
