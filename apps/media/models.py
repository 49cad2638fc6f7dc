"""
Files of a library, their versions, where they are used, what was deleted, and the audit trail.

Four things are kept right by the database itself, whoever writes (``migrations/0002_kept_by_the_database.py``, 0007):
a file's ``link_count`` and ``last_used_at`` follow its links, in the trash it has none, `LibraryTotal` follows the
files, history is only added to.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Coalesce, Lower, Substr
from django.db.models.lookups import GreaterThan, IsNull

from apps.core import ids
from apps.courses.models import Chapter, Course, Video
from apps.uploads.models import StoredFile

NEVER = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
"""Stands for "never used" where files are put in order by when they were last used."""


class Category(models.TextChoices):
    """What kind of file it is, by its content."""

    VIDEO = "video"
    IMAGE = "image"
    DOCUMENT = "document"
    OTHER = "other"


class Status(models.TextChoices):
    """What has become of a file's bytes."""

    UPLOADING = "uploading"
    PROCESSING = "processing"
    COMPLETE = "complete"
    ERROR = "error"


class Media(models.Model):
    """
    A file in someone's library. In the trash it has ``deleted_at``, and no links.

    ``size``, ``content_type`` and ``category`` are those of the current version. ``link_count`` and ``last_used_at``
    (when the youngest link it ever had was made) are the database's; ``used``, ``trashed`` and ``lower_name`` (ordered
    by code points) are there to be indexed.
    """

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    name = models.CharField(max_length=255)
    category = models.CharField(max_length=8, choices=Category.choices, default=Category.OTHER)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.UPLOADING)
    content_type = models.CharField(max_length=255, blank=True)
    size = models.BigIntegerField(default=0)
    current_version: "models.PositiveIntegerField[int | None, int | None]" = models.PositiveIntegerField(null=True)
    link_count = models.PositiveIntegerField(default=0)
    last_used_at: "models.DateTimeField[datetime | None, datetime | None]" = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at: "models.DateTimeField[datetime | None, datetime | None]" = models.DateTimeField(null=True)
    purge_at: "models.DateTimeField[datetime | None, datetime | None]" = models.DateTimeField(null=True)
    used = models.GeneratedField(
        expression=GreaterThan(models.F("link_count"), 0), output_field=models.BooleanField(), db_persist=True
    )
    trashed = models.GeneratedField(
        expression=IsNull(models.F("deleted_at"), False), output_field=models.BooleanField(), db_persist=True
    )
    lower_name = models.GeneratedField(
        expression=Lower("name"), output_field=models.TextField(db_collation="C"), db_persist=True
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(deleted_at=None) | models.Q(link_count=0), name="trashed_media_has_no_links"
            ),
        ]
        indexes = [
            models.Index("owner", "trashed", "created_at", "id", name="media_by_age"),
            # With what is asked most beside names: it is read alone then, without the table.
            models.Index("owner", "trashed", "lower_name", "id", name="media_by_name", include=("category", "used")),
            models.Index("owner", "trashed", "size", "id", name="media_by_size"),
            models.Index("owner", "trashed", Coalesce("last_used_at", models.Value(NEVER)), "id", name="media_by_use"),
            models.Index(
                *("owner", "trashed", "category", "created_at", "id"),
                name="media_by_category",
                condition=models.Q(trashed=False),
            ),
            models.Index("owner", "trashed", "category", "size", "id", name="media_by_category_and_size"),
            models.Index(
                *("owner", "trashed", "used", "created_at", "id"),
                name="media_by_usedness",
                condition=models.Q(trashed=False),
            ),
            models.Index(
                *("owner", "trashed", "used", Coalesce("last_used_at", models.Value(NEVER)), "id"),
                name="media_by_usedness_and_use",
                condition=models.Q(trashed=False),
            ),
            models.Index(
                "owner", "status", "created_at", name="unfinished_media", condition=~models.Q(status=Status.COMPLETE)
            ),
            models.Index("purge_at", name="trashed_media", condition=models.Q(deleted_at__isnull=False)),
            # What is added waits in a list of so many KB that each search reads, and that whoever fills it has to sort
            # in, while his locks keep others out.
            GinIndex(
                OpClass(Substr("lower_name", 2), name="gin_trgm_ops"),
                name="media_name_trigrams",
                gin_pending_list_limit=128,
            ),
        ]

    def __str__(self) -> str:
        return self.name


class MediaVersion(models.Model):
    """One of the files that a media file has been; they count from 1. Which of them it is now, `Media` says."""

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    media = models.ForeignKey(Media, on_delete=models.CASCADE, related_name="versions", db_index=False)
    number = models.PositiveIntegerField()
    file = models.OneToOneField(StoredFile, on_delete=models.PROTECT, related_name="+")
    created_by = models.UUIDField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["media", "number"], name="version_number_is_unique")]

    def __str__(self) -> str:
        return f"{self.media_id}: {self.number}"


class MediaLink(models.Model):
    """
    A use of a file: by a course, a chapter, or a video; exactly one of them.

    ``home`` is the course that the target is, or is in. ``position`` orders the files of a target; nothing moves when
    one goes, so that it can return to its place. Targets take their links with them by the database's own cascade.
    """

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    media = models.ForeignKey(Media, on_delete=models.PROTECT, related_name="links", db_index=False)
    home = models.ForeignKey(Course, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    course = models.ForeignKey(
        Course, on_delete=models.DO_NOTHING, related_name="+", null=True, db_constraint=False, db_index=False
    )
    chapter = models.ForeignKey(
        Chapter, on_delete=models.DO_NOTHING, related_name="+", null=True, db_constraint=False, db_index=False
    )
    video = models.ForeignKey(
        Video, on_delete=models.DO_NOTHING, related_name="+", null=True, db_constraint=False, db_index=False
    )
    role = models.CharField(max_length=32)
    position = models.IntegerField()
    created_by = models.UUIDField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=(
                    models.Q(course__isnull=False, chapter=None, video=None, home=models.F("course"))
                    | models.Q(course=None, chapter__isnull=False, video=None)
                    | models.Q(course=None, chapter=None, video__isnull=False)
                ),
                name="link_has_exactly_one_target",
            ),
            models.UniqueConstraint(
                fields=["media", "course", "chapter", "video", "role"],
                name="linked_once_in_each_role",
                nulls_distinct=False,
            ),
            models.UniqueConstraint(
                fields=["course", "chapter", "video", "role"],
                condition=models.Q(role__in=["source", "thumbnail"]),
                name="one_link_in_a_single_role",
                nulls_distinct=False,
            ),
            models.CheckConstraint(condition=models.Q(position__gte=0), name="link_position_not_negative"),
        ]
        indexes = [
            models.Index("home", "id", name="links_within_course"),
            models.Index("course", "position", "id", name="links_of_course", condition=~models.Q(course=None)),
            models.Index("chapter", "position", "id", name="links_of_chapter", condition=~models.Q(chapter=None)),
            models.Index("video", "position", "id", name="links_of_video", condition=~models.Q(video=None)),
            models.Index("media", "id", name="links_of_media"),
        ]

    def __str__(self) -> str:
        return f"{self.media_id} as {self.role}"


class Deletion(models.Model):
    """
    A deletion that may be undone: of a file, or of a course. Its `RemovedLink` rows are what it took away.

    It is there as long as what was deleted is deleted, and no longer.
    """

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    media = models.OneToOneField(Media, on_delete=models.CASCADE, related_name="deletion", null=True)
    course = models.OneToOneField(Course, on_delete=models.DO_NOTHING, related_name="+", null=True, db_constraint=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(media=None, course__isnull=False) | models.Q(media__isnull=False, course=None),
                name="deletion_of_one_thing",
            )
        ]

    def __str__(self) -> str:
        return str(self.pk)


class RemovedLink(models.Model):
    """A link that a deletion took away, under the id that it had. Its target may be gone for good by now."""

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, editable=False)
    deletion = models.ForeignKey(Deletion, on_delete=models.CASCADE, related_name="links", db_index=True)
    media = models.ForeignKey(Media, on_delete=models.CASCADE, related_name="+", db_index=True)
    home_id = models.UUIDField()
    target_type = models.CharField(max_length=8)
    target_id = models.UUIDField()
    role = models.CharField(max_length=32)
    position = models.IntegerField()
    created_by = models.UUIDField()
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.media_id} as {self.role}"


class LibraryTotal(models.Model):
    """How many files of a category someone has, and how many bytes they are; the trash is counted by itself."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    category = models.CharField(max_length=8, choices=Category.choices)
    trashed = models.BooleanField()
    count = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "category", "trashed"], name="one_total_for_each_category"),
            models.CheckConstraint(condition=models.Q(count__gte=0), name="total_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.owner_id} {self.category}: {self.count}"


class HistoryEntry(models.Model):
    """
    Who did what to which file, link or version, when, under which operation. Only ever added to.

    It refers to nothing, because it outlives what it is about; ``actor_id`` None: nobody, it was time.
    """

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    owner_id = models.UUIDField()
    media_id = models.UUIDField()
    media_name = models.CharField(max_length=255)
    action = models.CharField(max_length=32)
    actor_id: "models.UUIDField[UUID | None, UUID | None]" = models.UUIDField(null=True)
    operation_id = models.CharField(max_length=128, blank=True)
    details: "models.JSONField[Any, Any]" = models.JSONField(default=dict)
    created_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index("media_id", "id", name="history_of_media"),
            models.Index("owner_id", "id", name="history_of_library"),
            models.Index("owner_id", "action", "id", name="history_by_action"),
            models.Index("owner_id", "operation_id", "id", name="history_by_operation"),
            models.Index("owner_id", "actor_id", "id", name="history_by_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.media_id}"
