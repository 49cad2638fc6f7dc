"""What an operator does about delivery."""

from collections.abc import Collection

from django.db import transaction

from apps.outbox import drainer, selectors
from apps.outbox.models import DeliveryCursor, OutboxEvent


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
