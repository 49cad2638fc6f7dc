"""Operations, the requests they came in, and their steps."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models

from apps.core import ids


class Status(models.TextChoices):
    """How far an operation is."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepStatus(models.TextChoices):
    """
    How far a step is.

    One that only writes to the database is never seen running: it rolls back or ends. One that is *open* runs until its
    owner ends it (`apps.operations.open_steps`).
    """

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Operation(models.Model):
    """
    One intention of one user. ``key`` is the operationId, unique for each user.

    ``expected`` steps are to come, ``registered`` came, ``succeeded`` and ``failed`` ended. It ends once, when as many
    ended as are expected; from then on nothing about it changes.
    """

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    key = models.CharField("operationId", max_length=128)
    kind = models.CharField(max_length=64)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.PENDING)
    is_batch = models.BooleanField(help_text="Whether its end has an event of its own.")
    expected = models.PositiveIntegerField()
    registered = models.PositiveIntegerField()
    succeeded = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    topic = models.CharField(max_length=64)
    seq = models.BigIntegerField(null=True)
    error: "models.JSONField[Any, Any]" = models.JSONField(null=True)
    created_at = models.DateTimeField()
    last_request_at = models.DateTimeField()
    finished_at: "models.DateTimeField[datetime | None, datetime | None]" = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "key"], name="operation_key_is_unique_per_user"),
            models.CheckConstraint(
                condition=models.Q(succeeded__lte=models.F("expected") - models.F("failed")),
                name="no_more_steps_end_than_are_expected",
            ),
        ]
        indexes = [
            models.Index(
                fields=["last_request_at"], name="unfinished_operations", condition=models.Q(finished_at=None)
            ),
            models.Index(fields=["finished_at"], name="finished_operations"),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def ended(self) -> int:
        """How many steps ended."""
        return self.succeeded + self.failed


class Request(models.Model):
    """One request of an operation: its key, what it said, and what it was answered."""

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="requests", db_index=False)
    key = models.CharField(max_length=128)
    fingerprint = models.CharField(max_length=64)
    answer: "models.JSONField[Any, Any]" = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["operation", "key"], name="request_key_is_unique")]

    def __str__(self) -> str:
        return self.key


class Step(models.Model):
    """
    One mutation. ``id`` is its place in its lane: steps of a lane run in the order of their ids.

    ``topic`` is where it is told; ``payload`` what its action needs, with every tempId replaced; ``subject`` the typed
    ids it is about, for events; ``creates`` the id that it will bring into being; ``atomic_group`` those that
    succeed or fail together. What creates something and runs on as an open step has created it once it ``has_begun``,
    however it ends.
    """

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="steps", db_index=False)
    key = models.CharField("stepId", max_length=140)
    action = models.CharField(max_length=64)
    lane = models.CharField(max_length=64)
    topic = models.CharField(max_length=64)
    payload: "models.JSONField[Any, Any]" = models.JSONField()
    subject: "models.JSONField[Any, Any]" = models.JSONField()
    creates = models.UUIDField(null=True)
    temp_id = models.CharField(max_length=128, blank=True)
    atomic_group = models.BigIntegerField(null=True)
    status = models.CharField(max_length=16, choices=StepStatus.choices, default=StepStatus.PENDING)
    data: "models.JSONField[Any, Any]" = models.JSONField(null=True)
    error: "models.JSONField[Any, Any]" = models.JSONField(null=True)
    progress = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="Of an open step, 0 to 100.")
    has_begun = models.BooleanField(default=False, db_default=False, help_text="As an open step.")
    created_at = models.DateTimeField()
    finished_at: "models.DateTimeField[datetime | None, datetime | None]" = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["operation", "key"], name="step_key_is_unique")]
        indexes = [
            models.Index(fields=["lane", "id"], name="pending_steps", condition=models.Q(status="pending")),
            models.Index(fields=["creates"], name="creating_steps", condition=models.Q(creates__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.key}"
