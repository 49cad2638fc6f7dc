"""
Bundles: events on their way to the other processes.

What comes while a bundle is being sent makes up the next one, so a busy process sends few and large bundles and an idle
one sends at once. Within a bundle newer progress takes the place of older.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Final

from broadcast.parcel import Packed, Parcel

Publish = Callable[[Sequence[tuple[str, list[Packed]]]], "asyncio.Future[None]"]
"""Sends topics' events to the other processes; the future is done when that was tried."""

MOST_EVENTS: Final = 20_000
MOST_BYTES: Final = 64 * 1024 * 1024
_MESSAGE_EVENTS: Final = 500
_MESSAGE_BYTES: Final = 256 * 1024
_RELIEF_SECONDS: Final = 0.25


class Bundler:
    """
    Gathers and sends, for one node of the channel layer.

    ``on_drop``: called for an event that found no room; the history has it, if it has a seq.
    """

    def __init__(self, publish: Publish, *, on_drop: Callable[[], None] = lambda: None) -> None:
        self._publish = publish
        self._on_drop = on_drop
        self._waiting: dict[str, dict[Hashable, Parcel]] = {}
        self._events = self._bytes = 0
        self._wanted = asyncio.Event()
        self._relief: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return self._events

    def add(self, parcel: Parcel) -> None:
        """Send an event with the next bundle."""
        if self._events >= MOST_EVENTS or self._bytes >= MOST_BYTES:
            self._on_drop()
            return
        of_topic = self._waiting.setdefault(parcel.topic, {})
        key: Hashable = parcel.seq if parcel.seq is not None else parcel.progress_key
        if (older := of_topic.pop(key, None)) is not None:
            self._count(older, -1)
        of_topic[key] = parcel
        self._count(parcel, 1)
        self._wanted.set()

    async def relieved(self) -> None:
        """Wait while too much waits, but no longer than a moment: a slow layer must not hold up who posted."""
        if self._relief is not None and self._events > MOST_EVENTS // 10:
            await asyncio.wait([self._relief], timeout=_RELIEF_SECONDS)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            bundle, self._waiting = self._waiting, {}
            self._events = self._bytes = 0
            self._relief = asyncio.get_running_loop().create_future()
            try:
                await self._publish([(topic, m) for topic, events in bundle.items() for m in _messages(events)])
            finally:
                self._relief.cancel()

    def _count(self, parcel: Parcel, sign: int) -> None:
        self._events += sign
        self._bytes += sign * len(parcel.body)


def _messages(events: dict[Hashable, Parcel]) -> Iterator[list[Any]]:
    message: list[Packed] = []
    size = 0
    for parcel in events.values():
        message.append(parcel.pack())
        size += len(parcel.body)
        if len(message) >= _MESSAGE_EVENTS or size >= _MESSAGE_BYTES:
            yield message
            message, size = [], 0
    if message:
        yield message
