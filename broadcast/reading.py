"""Reading the history for many: what is asked for while it answers goes with the next round trip, and only once."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from broadcast.history import History
from broadcast.resume import Retained

_TOPICS_AT_ONCE: Final = 500
_ATTEMPTS: Final = 4


OnRead = Callable[[str, Sequence[bytes]], None]


def _ignore(_topic: str, _bodies: Sequence[bytes]) -> None:
    pass


class Wish:
    """What one client wants to know of a topic: the events after ``since``, or (None) only where it stands."""

    __slots__ = ("answer", "since")

    def __init__(self, since: int | None) -> None:
        self.since = since
        self.answer: asyncio.Future[Retained] = asyncio.get_running_loop().create_future()


class Reader:
    """
    Reads topics for clients that come in crowds.

    A read begins after it was asked for, never before: so whoever hears a topic already, and asks then, misses nothing.
    Events that several get are the same objects, and so are their frames. ``on_read`` is told of them before anybody.
    """

    def __init__(self, history: History, *, limit: int, limit_bytes: int, on_read: OnRead = _ignore) -> None:
        self._history = history
        self._on_read = on_read
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._waiting: dict[str, list[Wish]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def read(self, topic: str, since: int | None) -> Retained:
        """
        Read what is kept of a topic after ``since``; None: only where it stands.

        Raises:
            Unavailable: Redis is.
        """
        wish = Wish(since)
        self._waiting.setdefault(topic, []).append(wish)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all())
        return await wish.answer

    async def _read_all(self) -> None:
        while self._waiting:
            names = list(self._waiting)[:_TOPICS_AT_ONCE]
            wanted = {topic: self._waiting.pop(topic) for topic in names}
            try:
                await self._read_some(wanted)
            except Exception as problem:
                for wish in _open(wanted.values()):
                    wish.answer.set_exception(problem)

    async def _read_some(self, wanted: dict[str, list[Wish]]) -> None:
        standing = [topic for topic, wishes in wanted.items() if any(wish.since is None for wish in wishes)]
        replaying = [topic for topic, wishes in wanted.items() if any(wish.since is not None for wish in wishes)]
        results = await asyncio.gather(
            *([self._tell_positions(standing, wanted)] if standing else []),
            *(self._replay(topic, wanted[topic]) for topic in replaying),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _tell_positions(self, names: Sequence[str], wanted: dict[str, list[Wish]]) -> None:
        positions, epoch_ms = await self._positions(names)
        for topic in names:
            retained = Retained(epoch_ms, positions.get(topic))
            for wish in _open([wanted[topic]]):
                if wish.since is None:
                    wish.answer.set_result(retained)

    async def _positions(self, names: Sequence[str]) -> tuple[dict[str, int], int]:
        for _ in range(_ATTEMPTS - 1):
            before_ms = self._history.epoch_ms
            positions = await self._history.positions(names)
            if self._history.epoch_ms == before_ms:
                break
            # Some of it may be from before, some from after.
        else:
            positions = await self._history.positions(names)
        return positions, self._history.epoch_ms

    async def _replay(self, topic: str, wishes: Sequence[Wish]) -> None:
        left = sorted({wish.since for wish in wishes if wish.since is not None})
        answers: dict[int, Retained] = {}
        while left:
            lowest = left[0]
            limit, limit_bytes = self._limit, self._limit_bytes
            retained = await self._history.read(topic, since=lowest, limit=limit, limit_bytes=limit_bytes)
            self._on_read(topic, retained.bodies)
            # Where who is furthest behind gets nothing, the next one may get something.
            served = left if retained.bodies or lowest >= (retained.last or 0) else left[:1]
            answers |= {since: retained if since == lowest else retained.after(since) for since in served}
            left = left[len(served) :]
        for wish in _open([wishes]):
            if wish.since is not None:
                wish.answer.set_result(answers[wish.since])


def _open(many: Iterable[Sequence[Wish]]) -> list[Wish]:
    return [wish for wishes in many for wish in wishes if not wish.answer.done()]
