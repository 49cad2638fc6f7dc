"""Healing: what a channel layer lost is brought from the history."""

import asyncio
import logging
from collections.abc import Iterable

from broadcast import parcel
from broadcast.history import History, Unavailable
from broadcast.hub import Hub
from broadcast.metrics import Metrics
from broadcast.together import together

log = logging.getLogger(__name__)

_AT_ONCE = 16
_ROUNDS = 5
_SECOND_LOOK_SECONDS = 0.25
_RETRY_SECONDS = 0.5


class Healer:
    """Fills gaps of the hub's topics, one history read for each gap however many listeners there are."""

    def __init__(self, hub: Hub, history: History, metrics: Metrics, *, limit: int) -> None:
        self._hub = hub
        self._history = history
        self._metrics = metrics
        self._limit = limit
        self._gaps: set[str] = set()
        self._found = asyncio.Event()
        self._fresh: set[str] = set()
        self._limiter = asyncio.Semaphore(_AT_ONCE)

    def report(self, topic: str) -> None:
        """Have a topic's gap filled soon."""
        self._gaps.add(topic)
        self._found.set()

    def look_again(self, topic: str) -> None:
        """
        Look at a topic once more a moment later.

        A membership may take effect a little after the layer said so; what came in between is found this way.
        """
        self._fresh.add(topic)

    async def run(self) -> None:
        """Fill reported gaps until cancelled."""
        await together(self._heal_reported(), self._look_at_fresh())

    async def catch_up(self, topics: Iterable[str]) -> dict[str, int]:
        """
        Compare topics with the history, and bring what is missing; returns the newest seqs that the history knows.

        Raises:
            Unavailable: the history is.
        """
        positions = await self._history.positions(list(topics))
        behind = []
        for topic, last in positions.items():
            self._hub.settle(topic, last)
            feed = self._hub.feed(topic)
            if feed is not None and feed.behind:
                behind.append(topic)
        await asyncio.gather(*map(self._heal, behind))
        return positions

    async def _heal_reported(self) -> None:
        while True:
            await self._found.wait()
            self._found.clear()
            topics, self._gaps = self._gaps, set()
            results = await asyncio.gather(*map(self._heal, topics), return_exceptions=True)
            failed = [t for t, result in zip(topics, results, strict=True) if isinstance(result, BaseException)]
            if failed:
                log.warning("Gaps could not be filled yet", extra={"topics": len(failed)})
                await asyncio.sleep(_RETRY_SECONDS)
                self._gaps.update(failed)
                self._found.set()

    async def _look_at_fresh(self) -> None:
        ripe: set[str] = set()
        while True:
            await asyncio.sleep(_SECOND_LOOK_SECONDS)
            try:
                if ripe:
                    await self.catch_up(ripe)
                ripe, self._fresh = self._fresh, set()
            except Unavailable:
                self._fresh |= ripe

    async def _heal(self, topic: str) -> None:
        async with self._limiter:
            for _ in range(_ROUNDS):
                feed = self._hub.feed(topic)
                if feed is None or not feed.behind:
                    return
                newest = feed.newest
                retained = await self._history.read(topic, since=feed.last, limit=self._limit)
                up_to = max(newest, retained.last or 0)
                if not self._lacks(topic, up_to):
                    # It came meanwhile: late, or because somebody else healed the topic.
                    continue
                missing = [parcel.from_body(body, topic=topic) for body in retained.bodies]
                healed = self._hub.mend(topic, missing, up_to=up_to)
                self._metrics.healed.inc(healed)
                self._metrics.heals.labels("healed" if healed else "lost").inc()

    def _lacks(self, topic: str, up_to: int) -> bool:
        feed = self._hub.feed(topic)
        return feed is not None and feed.last is not None and feed.last < up_to
