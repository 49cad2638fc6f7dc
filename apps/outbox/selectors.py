"""Questions about topics and their events."""

from collections.abc import Collection
from datetime import timedelta

from django.db.models import Min

from apps.core import clock, sql
from apps.outbox.models import OutboxEvent, Topic

BEHIND_AT_ONCE = 5_000
"""`behind` names no more topics than this."""


def newest_seqs(names: Collection[str]) -> dict[str, int]:
    """Return the newest seq of each topic that has one."""
    return dict(Topic.objects.filter(name__in=names).values_list("name", "last_seq"))


def newest_seq(name: str) -> int:
    """Return a topic's newest seq; 0 when nothing happened yet."""
    return newest_seqs([name]).get(name, 0)


def oldest_kept_seq(topic: str) -> int | None:
    """Return the seq of the oldest event of a topic that is still there."""
    oldest: int | None = OutboxEvent.objects.filter(topic=topic).aggregate(oldest=Min("seq"))["oldest"]
    return oldest


def events_after(topic: str, seq: int, limit: int) -> list[OutboxEvent]:
    """Return a topic's next events after ``seq``, oldest first."""
    return list(OutboxEvent.objects.filter(topic=topic, seq__gt=seq).order_by("seq")[:limit])


def behind(*, since: timedelta | None = None) -> list[str]:
    """Name the topics with undelivered events; ``since`` looks only at those touched within that time."""
    clause, values = ("AND topic.touched_at > %s", [clock.now() - since]) if since else ("", [])
    return [row[0] for row in sql.rows(_BEHIND.format(clause=clause, limit=BEHIND_AT_ONCE), values)]


_BEHIND = """
    SELECT topic.name FROM outbox_topic topic JOIN outbox_deliverycursor cursor ON cursor.topic = topic.name
    WHERE topic.last_seq > cursor.delivered_seq {clause} ORDER BY topic.touched_at LIMIT {limit}
"""
