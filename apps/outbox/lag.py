"""
How far delivery is behind what is committed: the latest seq of each topic less the delivered one.

Summed up, because a label for each topic would grow without bound; which topics they are, the admin shows.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client.core import GaugeMetricFamily, Metric

from apps.core import clock, sql
from apps.outbox.models import OutboxEvent

_FULL_LOOK_SECONDS = 300.0
_LONGEST_COMMIT = timedelta(minutes=5)
"""A topic says when it was touched, not when that was committed; nothing takes as long as this."""


@dataclass(frozen=True, slots=True)
class Lag:
    """
    How far delivery is behind: topics and events concerned, and the age of the oldest in seconds.

    ``most_events``: of one topic.
    """

    topics: int
    events: int
    oldest_seconds: float
    most_events: int = 0


class Watch:
    """
    Delivery's lag, for whoever asks again and again; may be shared by threads.

    All topics are looked at every five minutes, because that takes tenths of a second for some hundred thousand. In
    between, only those that can be behind: those that were, and those touched since. One that an operator delivers
    again may show up five minutes late.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._full_look_due = 0.0
        self._since: datetime | None = None

    def __call__(self) -> Lag:
        """Say how far delivery is behind, over all topics."""
        with self._lock:
            if self._since is None or self._seconds() >= self._full_look_due:
                return self._look_at_all()
            return _ask(self._since)[0]

    def _look_at_all(self) -> Lag:
        began_at, began = clock.now(), self._seconds()
        lag, touched_at = _ask(None)
        self._since = min(began_at - _LONGEST_COMMIT, touched_at or began_at)
        self._full_look_due = began + _FULL_LOOK_SECONDS
        return lag


watch = Watch()
"""This process'."""


def metrics() -> Iterable[Metric]:
    """Yield delivery's lag as metrics."""
    now = watch()
    yield GaugeMetricFamily("coursehub_outbox_topics_behind", "Topics with undelivered events.", now.topics)
    yield GaugeMetricFamily("coursehub_outbox_undelivered", "Events not delivered yet.", now.events)
    yield GaugeMetricFamily("coursehub_outbox_undelivered_max", "Of them, those of one topic.", now.most_events)
    yield GaugeMetricFamily(
        "coursehub_outbox_oldest_undelivered_seconds", "Age of the oldest undelivered event.", now.oldest_seconds
    )
    withheld = OutboxEvent.objects.exclude(withheld="").count()
    yield GaugeMetricFamily("coursehub_outbox_withheld", "Events that had to be withheld; see the admin.", withheld)


def _ask(since: datetime | None) -> tuple[Lag, datetime | None]:
    """Ask about the topics touched since; also returns when the first of those behind was touched."""
    clause, values = ("AND topic.touched_at >= %s", [since]) if since else ("", [])
    ((topics, events, most, oldest, touched_at),) = sql.rows(_LAG.format(clause=clause), values)
    age = (clock.now() - oldest).total_seconds() if oldest else 0.0
    return Lag(topics, int(events), max(age, 0.0), most), touched_at


_LAG = """
    SELECT count(*), coalesce(sum(topic.last_seq - cursor.delivered_seq), 0),
        coalesce(max(topic.last_seq - cursor.delivered_seq), 0), min(event.created_at), min(topic.touched_at)
    FROM outbox_topic topic JOIN outbox_deliverycursor cursor ON cursor.topic = topic.name
    LEFT JOIN outbox_outboxevent event ON event.topic = topic.name AND event.seq = cursor.delivered_seq + 1
    WHERE topic.last_seq > cursor.delivered_seq {clause}
"""
