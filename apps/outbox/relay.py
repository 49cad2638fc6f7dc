"""
The relay: a process of its own that finds what was left lying and sees to it.

Whatever a crash, a lost message or an absent service leaves behind is in the database; each *chore* looks for one kind
of it. Apps above register chores of their own.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from django import db
from django.conf import settings
from prometheus_client.core import GaugeMetricFamily, Metric

from apps.core import clock, sql
from apps.outbox import bridge, delivery, selectors
from apps.outbox.complaints import Complaints
from apps.outbox.models import CompletedChore

log = logging.getLogger(__name__)

_TOPICS_AT_ONCE = 200
_RECENT = timedelta(minutes=10)
_FULL_SWEEP_SECONDS = 300
_NOTED_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to look after again and again, in a thread of its own."""

    name: str
    every_seconds: float
    run: Callable[[], object]


_chores: list[Callable[[], Chore]] = []


def register(make: Callable[[], Chore]) -> None:
    """Give the relay one more chore; ``make`` is called when a relay starts."""
    _chores.append(make)


def run(stop: threading.Event) -> None:
    """Look after all chores until ``stop`` is set; what is under way is finished."""
    threads = [threading.Thread(target=_repeat, args=(make(), stop)) for make in _chores]
    for thread in threads:
        thread.start()
    log.info("The relay is ready.", extra={"chores": len(threads)})
    for thread in threads:
        thread.join()


def overdue() -> Iterable[Metric]:
    """Yield as a metric for how long each chore should have been completed again, by one relay or another."""
    family = GaugeMetricFamily("coursehub_relay_overdue_seconds", "How late the relay's chores are.", labels=["chore"])
    completed = dict(CompletedChore.objects.values_list("name", "at"))
    for chore in (make() for make in _chores):
        at = completed.get(chore.name)
        age = (clock.now() - at).total_seconds() if at else math.inf
        family.add_metric([chore.name], max(0.0, age - chore.every_seconds))
    yield family


def _repeat(chore: Chore, stop: threading.Event) -> None:
    note_due, complaints = 0.0, Complaints(chore.name)
    while not stop.is_set():
        try:
            chore.run()
            if time.monotonic() >= note_due:
                _note_completed(chore)
                note_due = time.monotonic() + _NOTED_EVERY_SECONDS
            complaints.worked()
        except Exception as error:
            complaints.failed(error)
            db.connection.close()
        stop.wait(chore.every_seconds)
    db.connection.close()


def _note_completed(chore: Chore) -> None:
    CompletedChore.objects.update_or_create(name=chore.name, defaults={"at": clock.now()})


class Sweep:
    """
    Delivers what others left undelivered.

    It looks at topics touched lately; at all of them when it starts, after a failure, and every five minutes.
    """

    def __init__(self, make_bridge: Callable[[], bridge.Bridge] = bridge.of_this_thread) -> None:
        self._bridge = make_bridge
        self._full_sweep_due = 0.0

    def __call__(self) -> None:
        due, self._full_sweep_due = self._full_sweep_due, 0.0
        full = time.monotonic() >= due
        left = selectors.behind(since=None if full else _RECENT)
        for start in range(0, len(left), _TOPICS_AT_ONCE):
            self._deliver_all(set(left[start : start + _TOPICS_AT_ONCE]))
        if full and len(left) == selectors.BEHIND_AT_ONCE:
            return  # there may be more of them: look at all again
        self._full_sweep_due = time.monotonic() + _FULL_SWEEP_SECONDS if full else due

    def _deliver_all(self, topics: set[str]) -> None:
        while topics:
            topics = delivery.deliver(topics, self._bridge())


def prune() -> None:
    """Delete delivered events that are older than `EVENT_KEPT_DAYS`; never one that follows a kept one in its topic."""
    limit = clock.now() - timedelta(days=settings.EVENT_KEPT_DAYS)
    while sql.rows(_PRUNE, [limit, _TOPICS_AT_ONCE, limit])[0][0]:
        pass


# An event's time may be a little earlier than that of the one before it, so the oldest kept seq is what counts.
_PRUNE = """
    WITH old AS (
        SELECT DISTINCT event.topic, cursor.delivered_seq
        FROM outbox_outboxevent event JOIN outbox_deliverycursor cursor ON cursor.topic = event.topic
        WHERE event.created_at < %s AND event.seq <= cursor.delivered_seq LIMIT %s
    ), kept AS (
        SELECT old.topic, least(old.delivered_seq + 1, min(event.seq)) AS first_seq
        FROM old LEFT JOIN outbox_outboxevent event ON event.topic = old.topic AND event.created_at >= %s
        GROUP BY old.topic, old.delivered_seq
    ), gone AS (
        DELETE FROM outbox_outboxevent event USING kept
        WHERE event.topic = kept.topic AND event.seq < kept.first_seq RETURNING 1
    )
    SELECT count(*) FROM gone
"""

register(lambda: Chore("deliver", settings.RELAY_INTERVAL_MS / 1000, Sweep()))
register(lambda: Chore("prune-events", 3600, prune))
