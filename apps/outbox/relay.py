"""
The relay: a process of its own that finds what was left lying and sees to it.

Whatever a crash, a lost message or an absent service leaves behind is in the database; each *chore* looks for one kind
of it. Apps above register chores of their own.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django import db
from django.conf import settings
from django.db.models import OuterRef, Subquery

from apps.core import clock
from apps.outbox import bridge, delivery, selectors
from apps.outbox.models import DeliveryCursor, OutboxEvent

log = logging.getLogger(__name__)

_TOPICS_AT_ONCE = 200
_RECENT = timedelta(minutes=10)
_FULL_SWEEP_SECONDS = 300
_PRUNED_AT_ONCE = 5_000


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


def _repeat(chore: Chore, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            chore.run()
        except bridge.BridgeError as error:
            log.warning("The broadcast service is away.", extra={"chore": chore.name, "reason": str(error)})
        except Exception:
            log.exception("A chore failed.", extra={"chore": chore.name})
            db.connection.close()
        stop.wait(chore.every_seconds)
    db.connection.close()


class Sweep:
    """
    Delivers what others left undelivered.

    It looks at topics touched lately; at all of them when it starts, after a failure, and every five minutes.
    """

    def __init__(self, make_bridge: Callable[[], bridge.Bridge] = bridge.of_this_thread) -> None:
        self._bridge = make_bridge
        self._full_sweep_due = 0.0

    def __call__(self) -> None:
        full = time.monotonic() >= self._full_sweep_due
        self._full_sweep_due = 0.0
        left = selectors.behind(since=None if full else _RECENT)
        for start in range(0, len(left), _TOPICS_AT_ONCE):
            self._deliver_all(set(left[start : start + _TOPICS_AT_ONCE]))
        if len(left) < selectors.BEHIND_AT_ONCE:
            self._full_sweep_due = time.monotonic() + _FULL_SWEEP_SECONDS

    def _deliver_all(self, topics: set[str]) -> None:
        while topics:
            topics = delivery.deliver(topics, self._bridge())


def prune() -> None:
    """Delete delivered events that are older than `EVENT_KEPT_DAYS`."""
    oldest = clock.now() - timedelta(days=settings.EVENT_KEPT_DAYS)
    delivered = DeliveryCursor.objects.filter(topic=OuterRef("topic")).values("delivered_seq")
    while True:
        doomed = OutboxEvent.objects.filter(created_at__lt=oldest, seq__lte=Subquery(delivered))
        ids = list(doomed.values_list("id", flat=True)[:_PRUNED_AT_ONCE])
        OutboxEvent.objects.filter(id__in=ids).delete()
        if len(ids) < _PRUNED_AT_ONCE:
            return


register(lambda: Chore("deliver", settings.RELAY_INTERVAL_MS / 1000, Sweep()))
register(lambda: Chore("prune-events", 3600, prune))
