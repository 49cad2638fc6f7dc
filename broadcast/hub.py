"""
The hub: topics and their listeners in this process. It is the observer of requirement D9.

An event is encoded and framed once, and goes to every listener of its topic: to sockets when this turn of the loop is
over, joined with whatever else they get in it, to others at once. A listener that raises is counted and logged, and
stops no other.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from broadcast.contracts import events
from broadcast.feed import Feed, Hearers, Listener, Subscription, Taken
from broadcast.parcel import Endings, Parcel, from_body
from broadcast.sending.turn import Hear, Receiver, Turn, Written

log = logging.getLogger(__name__)

_MAX_EVENT_TYPES: Final = 256
_REPLAYED_ENDINGS: Final = 100
"""Progress is late by seconds: what a replay brings from before is not worth the reading."""
_ENDS_PROGRESS: Final = re.compile(b'"type":"(?:%s)"' % "|".join(events.ENDS_PROGRESS).encode())
"""To read every event of a replay took twice as long as the replay itself."""


class Change(Enum):
    """What a watcher of topics hears."""

    OPENED = "opened"
    CLOSED = "closed"
    GAP = "gap"


Watcher = Callable[[Sequence[Written]], None]
"""Called with all that went out together, topic by topic."""


class Hub:
    """
    Topics and their listeners.

    ``on_change`` is told when a topic gets its first listener, loses its last, or turns out to have a gap.
    ``capacity`` bounds what is kept for a topic whose order is not known, and for a listener that is catching up.
    ``turn`` writes to the outlets.
    """

    def __init__(
        self, *, on_change: Callable[[Change, str], None], capacity: int = 1000, turn: Turn | None = None
    ) -> None:
        self._on_change = on_change
        self._capacity = capacity
        self._feeds: dict[str, Feed] = {}
        self._endings = Endings()
        self._event_types: dict[str, None] = {}
        self._watchers: list[Watcher] = []
        self._turn = turn or Turn()
        self._turn.on_written = self._report

    def subscribe(
        self, topic: str, listener: Listener, outlet: Receiver | None = None, hear: Hear | None = None
    ) -> Subscription:
        """
        Let a listener in. It hears nothing until `start`, and misses nothing from now on.

        With an ``outlet`` events are written there instead of being given to ``listener.deliver``; with ``hear`` those
        of one turn of the loop are given there at its end, all at once.
        """
        feed = self._feeds.get(topic)
        if feed is None:
            feed = self._feeds[topic] = Feed(topic, emit=self._write, capacity=self._capacity)
            self._on_change(Change.OPENED, topic)
        return feed.add(listener, outlet, hear)

    def start(self, subscription: Subscription, position: int) -> None:
        """Let a listener hear what comes after ``position``."""
        subscription.feed.start(subscription, position)
        self._look_for_gap(subscription.feed)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Let a listener go; without effect when it has gone."""
        feed = subscription.feed
        feed.remove(subscription)
        if not len(feed) and self._feeds.get(feed.topic) is feed:
            del self._feeds[feed.topic]
            self._on_change(Change.CLOSED, feed.topic)

    def clear(self) -> None:
        """Let every listener go."""
        topics = list(self._feeds)
        self._feeds.clear()
        for topic in topics:
            self._on_change(Change.CLOSED, topic)

    def watch(self, watcher: Watcher) -> None:
        """Let someone hear of every event that is emitted, whatever its topic."""
        self._watchers.append(watcher)

    def emit(self, parcel: Parcel) -> Taken | None:
        """Take an event in, and write it to its topic's listeners when it is its turn; None: nobody listens."""
        feed = self._feeds.get(parcel.topic)
        if feed is None:
            if parcel.seq is not None:
                self._endings.note(parcel)
            return None
        if parcel.seq is None and self._endings.covers(parcel):
            return Taken.STALE
        taken = feed.take(parcel)
        if taken is Taken.GAP:
            self._on_change(Change.GAP, feed.topic)
        elif taken is Taken.DUPLICATE:
            # The history may have had it before the topic had listeners here.
            self._endings.note(parcel)
        return taken

    def note_replayed(self, topic: str, bodies: Sequence[bytes]) -> None:
        """Remember what the newest events of a replay ended: they may never have come this way."""
        for body in bodies[-_REPLAYED_ENDINGS:]:
            if _ENDS_PROGRESS.search(body):
                self._endings.note(from_body(body, topic=topic))

    def settle(self, topic: str, last: int) -> None:
        """Learn from the history which event is a topic's newest; a gap that this shows is reported."""
        if (feed := self._feeds.get(topic)) is not None:
            feed.settle(last)
            self._look_for_gap(feed)

    def mend(self, topic: str, parcels: Sequence[Parcel], *, up_to: int) -> int:
        """Fill a gap with what the history holds; see `Feed.mend`."""
        feed = self._feeds.get(topic)
        return 0 if feed is None else feed.mend(parcels, up_to=up_to)

    def lose(self) -> None:
        """Tell all listeners of all topics to resync: the history was lost."""
        for feed in list(self._feeds.values()):
            feed.lose()

    def feed(self, topic: str) -> Feed | None:
        """Look up an open topic."""
        return self._feeds.get(topic)

    def topics(self) -> list[str]:
        """List the topics that have listeners."""
        return list(self._feeds)

    def listener_count(self, topic: str | None = None) -> int:
        """Count a topic's listeners, or all."""
        if topic is None:
            return sum(map(len, self._feeds.values()))
        feed = self._feeds.get(topic)
        return 0 if feed is None else len(feed)

    def event_types(self) -> list[str]:
        """List the types of the events emitted so far (the first `_MAX_EVENT_TYPES` of them)."""
        return list(self._event_types)

    def _look_for_gap(self, feed: Feed) -> None:
        if feed.behind:
            self._on_change(Change.GAP, feed.topic)

    def _write(self, parcel: Parcel, hearers: Hearers) -> None:
        if parcel.seq is not None:
            self._endings.note(parcel)
        if len(self._event_types) < _MAX_EVENT_TYPES:
            self._event_types[parcel.type] = None
        others, failed, seconds = len(hearers.others), 0, 0.0
        if others:
            failed, seconds = _tell(parcel, hearers)
        if hearers.audience.size:
            self._turn.add(parcel, hearers.audience, others=others, failed=failed, seconds=seconds)
        else:
            written = Written(hearers.audience)
            written.parcels.append(parcel)
            written.others, written.failed, written.seconds = others, failed, seconds
            self._report([written])

    def _report(self, written: Sequence[Written]) -> None:
        for watcher in self._watchers:
            watcher(written)


def _tell(parcel: Parcel, hearers: Hearers) -> tuple[int, float]:
    """Give an event to those who have no outlet; returns how many of them failed, and the seconds it took."""
    started = time.perf_counter()
    failed = 0
    for deliver in hearers.others:
        try:
            deliver(parcel)
        except Exception:
            failed += 1
            log.exception("A listener failed", extra={"topic": parcel.topic, "operationId": parcel.operation_id})
    return failed, time.perf_counter() - started
