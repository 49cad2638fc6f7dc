"""Topics, their events, and how far each topic has been delivered."""

from datetime import datetime

from django.db import models
from django.db.models.functions import Now

CONTROL = "control:"
"""Topics of this kind carry messages to the broadcast service itself."""


class Topic(models.Model):
    """A topic and its newest seq. Its row is locked from the moment an event takes a seq until the commit."""

    name = models.TextField(primary_key=True)
    last_seq = models.BigIntegerField(default=0)
    touched_at = models.DateTimeField(db_default=Now(), db_index=True)

    def __str__(self) -> str:
        return self.name


class OutboxEvent(models.Model):
    """
    One event, encoded as clients get it. Kept for `EVENT_KEPT_DAYS`, for those who catch up.

    A control message has a topic of its own kind (``control:…``) and is never shown to a client.
    """

    topic = models.CharField(max_length=64)
    seq = models.BigIntegerField()
    type = models.CharField(max_length=64)
    operation_id = models.CharField(max_length=128, blank=True)
    body = models.TextField()
    created_at = models.DateTimeField(db_index=True)
    withheld = models.TextField(blank=True, help_text="Why the broadcast service would not take it; empty: it did.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["topic", "seq"], name="event_has_its_place")]
        indexes = [models.Index(fields=["id"], name="withheld_events", condition=~models.Q(withheld=""))]

    def __str__(self) -> str:
        return f"{self.topic} {self.seq}: {self.type}"


class DeliveryCursor(models.Model):
    """
    How far a topic has been delivered, and who is delivering it now.

    It is a row of its own so that delivering a topic never waits for a save that holds the topic's row.
    """

    topic = models.TextField(primary_key=True)
    delivered_seq = models.BigIntegerField(default=0)
    lease_token = models.UUIDField(null=True)
    lease_expires_at: "models.DateTimeField[datetime | None, datetime | None]" = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.topic} up to {self.delivered_seq}"


class CompletedChore(models.Model):
    """When a chore of the relay was last completed, by whichever relay."""

    name = models.CharField(primary_key=True, max_length=64)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.at}"
