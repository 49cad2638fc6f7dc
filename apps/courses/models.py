"""Courses, who may do what with them, and what is in them."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db import models

from apps.core import ids
from apps.uploads.models import StoredFile


class Role(models.TextChoices):
    """What a member may do: viewers see, editors change the content, the owner does everything."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"


class VideoStatus(models.TextChoices):
    """
    What has become of a video's file.

    While another one is uploaded the old one stays; should that fail, the video is complete again. ``processing`` is
    told in progress only: what is kept is kept with an event.
    """

    EMPTY = "empty"
    UPLOADING = "uploading"
    PROCESSING = "processing"
    COMPLETE = "complete"
    ERROR = "error"


class Course(models.Model):
    """A course. A deleted one keeps its content, so that it can be restored."""

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    title = models.CharField(max_length=255)
    description = models.TextField(blank=True)
    price: "models.DecimalField[Decimal | None, Decimal | None]" = models.DecimalField(
        max_digits=10, decimal_places=2, null=True
    )
    currency: "models.CharField[str | None, str | None]" = models.CharField(max_length=3, null=True)  # noqa: DJ001
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at: "models.DateTimeField[datetime | None, datetime | None]" = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.title


class Membership(models.Model):
    """Someone's role in a course; its owner has one too."""

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    course = models.ForeignKey(Course, on_delete=models.CASCADE, related_name="memberships", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=8, choices=Role.choices)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["course", "user"], name="one_role_per_member")]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.role}"


class Chapter(models.Model):
    """A chapter. Positions within a course are 0, 1, 2, … without gaps; the database checks that at commit."""

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    course = models.ForeignKey(Course, on_delete=models.CASCADE, related_name="chapters", db_index=False)
    title = models.CharField(max_length=255)
    position = models.IntegerField()
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["course", "position"], name="chapter_position", deferrable=models.Deferrable.DEFERRED
            ),
            models.CheckConstraint(condition=models.Q(position__gte=0), name="chapter_position_not_negative"),
        ]

    def __str__(self) -> str:
        return self.title


class Video(models.Model):
    """A video, which may exist before its file does. Its course is its chapter's, kept here to be found by."""

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    course = models.ForeignKey(Course, on_delete=models.CASCADE, related_name="videos")
    chapter = models.ForeignKey(Chapter, on_delete=models.CASCADE, related_name="videos", db_index=False)
    title = models.CharField(max_length=255)
    filename = models.CharField(max_length=255, blank=True)
    position = models.IntegerField()
    status = models.CharField(max_length=10, choices=VideoStatus.choices, default=VideoStatus.EMPTY)
    file = models.ForeignKey(StoredFile, on_delete=models.PROTECT, null=True, related_name="videos")
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["chapter", "position"], name="video_position", deferrable=models.Deferrable.DEFERRED
            ),
            models.CheckConstraint(condition=models.Q(position__gte=0), name="video_position_not_negative"),
        ]

    def __str__(self) -> str:
        return self.title
