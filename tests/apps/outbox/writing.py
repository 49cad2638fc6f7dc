"""Short ways to events and to what became of them."""

from datetime import datetime
from typing import Any

from django.db import connection, transaction

from apps.core import clock
from apps.outbox import emit
from apps.outbox.models import DeliveryCursor, OutboxEvent

COURSE = "course:01900000-0000-7000-8000-00000000000a"
OTHER = "course:01900000-0000-7000-8000-00000000000b"
THIRD = "course:01900000-0000-7000-8000-00000000000c"
USER_ID = "01900000-0000-7000-8000-00000000000d"
CONTROL = f"control:{USER_ID}"


def draft(topic: str = COURSE, type_: str = "chapter-update-complete", **data: Any) -> emit.Draft:
    """Make an event that has no seq yet."""
    return emit.Draft(type_, topic, "save-1", data)


@transaction.atomic
def write(*names: str, now: datetime | None = None) -> list[int]:
    """Commit one event for each topic named, in this order; returns their seqs."""
    return emit.emit([draft(name, n=n) for n, name in enumerate(names)], now=now or clock.now())


@transaction.atomic
def revoke(topic: str | None) -> None:
    """Commit a control message."""
    emit.emit([emit.revoke_access(user_id=USER_ID, topic=topic)], now=clock.now())


def delivered(topic: str = COURSE) -> int:
    """How far a topic has been delivered."""
    return DeliveryCursor.objects.get(topic=topic).delivered_seq


def leased(topic: str = COURSE) -> bool:
    """Whether someone holds the right to deliver a topic."""
    return DeliveryCursor.objects.get(topic=topic).lease_token is not None


def withheld() -> list[tuple[str, int]]:
    """Which events the broadcast service would not take."""
    return list(OutboxEvent.objects.exclude(withheld="").order_by("id").values_list("topic", "seq"))


def let_leases_run_out() -> None:
    """Do what five seconds without an answer do."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE outbox_deliverycursor SET lease_expires_at = now() - interval '1 second'")
