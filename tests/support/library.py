"""Files of a library as an upload leaves them, and short ways to links, for tests."""

from typing import Any
from uuid import UUID

from apps.accounts.models import User
from apps.core import clock, ids
from apps.media.models import Media, MediaVersion
from apps.uploads.models import StoredFile


def stored(**more: Any) -> StoredFile:
    """Make what is stored of a file; nothing is in storage."""
    values = {"size": 1000, "content_type": "video/mp4", "category": "video", "filename": "a.mp4", "format": "mp4"}
    values |= {"duration_ms": 2500, "width": 640, "height": 360, "codecs": ["h264"], "created_at": clock.now()}
    return StoredFile.objects.create(key=f"media/x/{ids.new_id()}", **{**values, **more})


def a_file(owner: User, name: str = "a.mp4", **facts: Any) -> str:
    """Put a complete file into someone's library; returns its id."""
    now = clock.now()
    media = Media.objects.create(owner=owner, name=name, status="complete", created_at=now, updated_at=now)
    add_version(media.pk, stored(filename=name, **facts))
    return str(media.pk)


def add_version(media_id: UUID | str, file: StoredFile) -> int:
    """Make a stored file the newest version of a media file; returns its number."""
    media = Media.objects.get(pk=media_id)
    number = media.versions.count() + 1
    at = {"created_by": media.owner_id, "created_at": clock.now()}
    MediaVersion.objects.create(media=media, number=number, file=file, **at)
    facts = {"category": file.category, "content_type": file.content_type, "size": file.size}
    Media.objects.filter(pk=media.pk).update(current_version=number, **facts)
    return number
