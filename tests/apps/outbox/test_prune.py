"""Events are kept for thirty days, and longer when they are yet to be delivered."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from apps.core import clock
from apps.outbox import delivery, relay
from apps.outbox.models import OutboxEvent
from tests.apps.outbox.writing import COURSE, OTHER, THIRD, write
from tests.support.bridge import MemoryBridge


def _days_ago(days: float) -> datetime:
    return clock.now() - timedelta(days=days)


def _kept(topic: str = COURSE) -> list[int]:
    return list(OutboxEvent.objects.filter(topic=topic).order_by("seq").values_list("seq", flat=True))


def test_what_is_old_goes_and_what_is_young_stays() -> None:
    write(COURSE, COURSE, now=_days_ago(31))
    write(COURSE, now=_days_ago(29))
    delivery.deliver({COURSE}, MemoryBridge())
    relay.prune()

    assert _kept() == [3]


def test_how_long_they_are_kept_is_a_setting(settings: Any) -> None:
    settings.EVENT_KEPT_DAYS = 2
    write(COURSE, now=_days_ago(3))
    write(COURSE, now=_days_ago(1))
    delivery.deliver({COURSE}, MemoryBridge())
    relay.prune()

    assert _kept() == [2]


def test_what_was_not_delivered_stays_however_old() -> None:
    write(COURSE, COURSE, OTHER, now=_days_ago(90))
    delivery.deliver({COURSE}, MemoryBridge())
    write(COURSE, now=_days_ago(60))
    relay.prune()

    assert _kept() == [3]
    assert _kept(OTHER) == [1]


def test_seqs_go_on_after_all_events_are_gone() -> None:
    write(COURSE, now=_days_ago(31))
    delivery.deliver({COURSE}, MemoryBridge())
    relay.prune()

    assert _kept() == []
    assert write(COURSE) == [2]


def test_it_goes_on_until_nothing_old_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_TOPICS_AT_ONCE", 1)
    write(*[COURSE] * 10, *[OTHER] * 5, THIRD, now=_days_ago(31))
    delivery.deliver({COURSE, OTHER, THIRD}, MemoryBridge())
    relay.prune()

    assert not OutboxEvent.objects.exists()


def test_no_hole_is_left_in_a_topic() -> None:
    """Times need not be in the order of seqs: whoever takes a seq later may have looked at the clock earlier."""
    write(COURSE, now=_days_ago(31))
    write(COURSE, now=_days_ago(29))
    write(COURSE, now=_days_ago(31))
    delivery.deliver({COURSE}, MemoryBridge())
    relay.prune()

    assert _kept() in ([2, 3], [1, 2, 3])
