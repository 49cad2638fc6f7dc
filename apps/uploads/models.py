"""Files in storage, uploads on their way there, and what storage is to be rid of."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models

from apps.core import ids
from apps.operations.models import Step


class StoredFile(models.Model):
    """
    A whole file in storage, looked at and found good. It never changes; ``missing_since`` says that storage lost it.

    Whatever refers to it by a foreign key owns it; an owner that lets go of it says so to `purges.discard`.
    """

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    key = models.CharField(max_length=255, unique=True)
    size = models.BigIntegerField()
    content_type = models.CharField(max_length=127)
    category = models.CharField(max_length=16, help_text="video, image, document or other, by its content.")
    filename = models.CharField(max_length=255)
    checksum: "models.CharField[str | None, str | None]" = models.CharField(  # noqa: DJ001
        max_length=64, null=True, help_text="SHA-256 in hex, where the whole file passed by."
    )
    duration_ms: "models.BigIntegerField[int | None, int | None]" = models.BigIntegerField(null=True)
    width: "models.PositiveIntegerField[int | None, int | None]" = models.PositiveIntegerField(null=True)
    height: "models.PositiveIntegerField[int | None, int | None]" = models.PositiveIntegerField(null=True)
    codecs: "models.JSONField[Any, Any]" = models.JSONField(default=list)
    format = models.CharField(max_length=64, blank=True)
    missing_since: "models.DateTimeField[datetime | None, datetime | None]" = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.filename


class Protocol(models.TextChoices):
    """How the bytes come."""

    TUS = "tus"
    S3 = "s3"


class UploadStatus(models.TextChoices):
    """How far an upload is."""

    UPLOADING = "uploading"
    PROCESSING = "processing"
    COMPLETE = "complete"
    ERROR = "error"
    ABORTED = "aborted"


OPEN = (UploadStatus.UPLOADING, UploadStatus.PROCESSING)
"""Of these something is still to come."""


class Upload(models.Model):
    """
    A file on its way into storage.

    ``offset`` counts the bytes that are safe: those of its parts, and of ``tail_key``, an object beside the upload with
    what is too small for a part. Whoever moves bytes or completes it holds a lease: a write with another
    ``lease_token`` changes nothing. ``attempt`` counts the leases. ``asked_at`` is when someone else asked the holder
    to let go.

    A partial upload (tus concatenation) has neither target nor step; a final one names its ``parts_of``.
    """

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    step = models.ForeignKey(
        Step, on_delete=models.SET_NULL, null=True, related_name="+", help_text="Once its lane has begun it."
    )
    operation_key = models.CharField("operationId", max_length=128, blank=True)
    target_kind = models.CharField(max_length=16, blank=True)
    target_id: "models.UUIDField[UUID | None, UUID | None]" = models.UUIDField(null=True)
    target: "models.JSONField[Any, Any]" = models.JSONField(default=dict)
    topic = models.CharField(max_length=64, blank=True)
    lane = models.CharField(max_length=64, blank=True)
    protocol = models.CharField(max_length=3, choices=Protocol.choices)
    filename = models.CharField(max_length=255)
    declared_type = models.CharField(max_length=127, blank=True)
    declared_size: "models.BigIntegerField[int | None, int | None]" = models.BigIntegerField(null=True)
    declared_checksum = models.CharField(max_length=64, blank=True, help_text="SHA-256 in hex, if the client said it.")
    metadata = models.TextField(blank=True, help_text="Upload-Metadata as the client gave it.")
    key = models.CharField(max_length=255, unique=True)
    storage_upload_id = models.TextField(blank=True)
    part_size = models.BigIntegerField()
    offset = models.BigIntegerField(default=0)
    reported = models.BigIntegerField(default=0, help_text="The furthest figure that was told; it never goes back.")
    tail_key = models.CharField(max_length=255, blank=True)
    tail_size = models.BigIntegerField(default=0)
    checksum = models.CharField(max_length=64, blank=True, help_text="SHA-256 in hex, if all bytes passed by.")
    is_partial = models.BooleanField(default=False)
    parts_of: "models.JSONField[Any, Any]" = models.JSONField(null=True)
    status = models.CharField(max_length=10, choices=UploadStatus.choices, default=UploadStatus.UPLOADING)
    attempt = models.PositiveIntegerField(default=0)
    lease_token: "models.UUIDField[UUID | None, UUID | None]" = models.UUIDField(null=True)
    lease_expires_at: "models.DateTimeField[datetime | None, datetime | None]" = models.DateTimeField(null=True)
    asked_at: "models.DateTimeField[datetime | None, datetime | None]" = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0, help_text="How often its completion was begun.")
    retries = models.PositiveIntegerField(default=0, help_text="How often storage was away then.")
    retry_at: "models.DateTimeField[datetime | None, datetime | None]" = models.DateTimeField(null=True)
    error: "models.JSONField[Any, Any]" = models.JSONField(null=True)
    file = models.ForeignKey(StoredFile, on_delete=models.SET_NULL, null=True, related_name="uploads")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    finished_at: "models.DateTimeField[datetime | None, datetime | None]" = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["user", "id"], name="uploads_of_users"),
            models.Index(fields=["target_id"], name="uploads_of_targets"),
            models.Index(
                fields=["expires_at"], name="open_uploads", condition=models.Q(status__in=["uploading", "processing"])
            ),
            models.Index(fields=["finished_at"], name="finished_uploads"),
        ]

    def __str__(self) -> str:
        return self.filename

    @property
    def has_all_bytes(self) -> bool:
        """Whether as much came as was declared."""
        return self.declared_size is not None and self.offset == self.declared_size


class Part(models.Model):
    """A part of a multipart upload that storage has."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="parts", db_index=False)
    number = models.PositiveIntegerField()
    size = models.BigIntegerField()
    etag = models.CharField(max_length=255)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["upload", "number"], name="part_number_is_unique")]

    def __str__(self) -> str:
        return f"{self.upload_id}: {self.number}"


class Purge(models.Model):
    """
    Something that storage is to be rid of: an object, or (with ``storage_upload_id``) an unfinished upload.

    ``due_at`` is from when on, ``not_before`` when it is tried next.
    """

    key = models.CharField(max_length=255)
    storage_upload_id = models.TextField(blank=True)
    reason = models.CharField(max_length=64)
    not_before = models.DateTimeField(db_index=True)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    due_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.key
