"""What an operator does about delivery."""

from collections.abc import Collection

from django.db import transaction

from apps.core import sql
from apps.outbox import drainer, selectors
from apps.outbox.models import CONTROL, DeliveryCursor, OutboxEvent


@transaction.atomic
def redeliver(topics: Collection[str], *, from_seq: int = 1) -> None:
    """
    Post topics' events again, from ``from_seq`` or the oldest kept on.

    What the broadcast service has already is a duplicate to it and reaches no client twice.
    """
    for cursor in DeliveryCursor.objects.select_for_update().filter(topic__in=topics).order_by("topic"):
        oldest = selectors.oldest_kept_seq(cursor.topic) or cursor.delivered_seq + 1
        cursor.delivered_seq = min(cursor.delivered_seq, max(from_seq, oldest) - 1)
        cursor.lease_token = cursor.lease_expires_at = None
        cursor.save()
    transaction.on_commit(lambda: drainer.wake(topics))


def release(event: OutboxEvent) -> None:
    """Let a withheld event go out as it is, the next time its topic is delivered again."""
    OutboxEvent.objects.filter(pk=event.pk).update(withheld="")


def raise_seqs(*, by: int) -> int:
    """
    Have every topic go on at a seq that no client can have seen, after a restore; returns how many topics there are.

    Events from before the leap go, those that were not delivered as well: whoever resumes or catches up is told to
    refetch, and finds in what it fetches what they told. Withdrawals of access stay.
    """
    return int(sql.rows(_RAISE_SEQS, [f"{CONTROL}%", by])[0][0])


# A user of the backup may have heard a first event since; a course has had one from the beginning. The cursors leap
# too, or delivery would stand in for all the seqs between.
_RAISE_SEQS = """
    WITH raised AS (
        INSERT INTO outbox_topic AS topic (name, last_seq)
        SELECT name, leap FROM (
            SELECT name FROM outbox_topic WHERE name NOT LIKE %s UNION SELECT 'user:' || id FROM accounts_user
        ) AS known, (VALUES (%s::bigint)) AS by(leap) ORDER BY name
        ON CONFLICT (name) DO UPDATE SET last_seq = topic.last_seq + excluded.last_seq
        RETURNING name, last_seq
    ), gone AS (
        DELETE FROM outbox_outboxevent event USING raised WHERE event.topic = raised.name
    ), moved AS (
        INSERT INTO outbox_deliverycursor (topic, delivered_seq) SELECT name, last_seq FROM raised
        ON CONFLICT (topic) DO UPDATE
        SET delivered_seq = excluded.delivered_seq, lease_token = NULL, lease_expires_at = NULL
    )
    SELECT count(*) FROM raised
"""
