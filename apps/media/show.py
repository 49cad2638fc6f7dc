"""How media look in answers."""

from typing import Any

from apps.core import clock
from apps.media.models import HistoryEntry, Media, MediaLink, MediaVersion
from apps.uploads.models import StoredFile

Json = dict[str, Any]


def media(row: Media, current: MediaVersion | None) -> Json:
    """Render a file for its owner."""
    return shared(row) | {
        "currentVersion": row.current_version,
        "file": stored(current.file) if current else None,
        "linkCount": row.link_count,
        "used": row.used,
        "lastUsedAt": clock.to_rfc3339(row.last_used_at),
        "version": row.version,
        "createdAt": clock.to_rfc3339(row.created_at),
        "updatedAt": clock.to_rfc3339(row.updated_at),
        "deletedAt": clock.to_rfc3339(row.deleted_at),
        "purgeAt": clock.to_rfc3339(row.purge_at),
    }


def shared(row: Media) -> Json:
    """Render a file for those whose courses it is linked into."""
    return {
        "id": str(row.pk),
        "ownerId": str(row.owner_id),
        "name": row.name,
        "category": row.category,
        "status": row.status,
        "contentType": row.content_type,
        "size": row.size,
    }


def stored(file: StoredFile) -> Json:
    """Render what is stored, as the ``finalData`` of an upload does."""
    return {
        "size": file.size,
        "contentType": file.content_type,
        "filename": file.filename,
        "duration": None if file.duration_ms is None else file.duration_ms / 1000,
        "width": file.width,
        "height": file.height,
        "codecs": file.codecs,
        "format": file.format,
        "checksum": file.checksum,
        "createdAt": clock.to_rfc3339(file.created_at),
    }


def version(row: MediaVersion, current: int | None) -> Json:
    """Render a version."""
    return {
        "number": row.number,
        "isCurrent": row.number == current,
        "createdBy": str(row.created_by),
        "createdAt": clock.to_rfc3339(row.created_at),
        "file": stored(row.file),
    }


def link(row: MediaLink) -> Json:
    """Render a link of `selectors.links`."""
    target = _path(row)[-1]
    readable: bool = row.readable  # type: ignore[attr-defined]
    return {
        "id": str(row.pk),
        "mediaId": str(row.media_id),
        "targetType": target["type"],
        "targetId": target["id"],
        "courseId": str(row.home_id),
        "role": row.role,
        "position": row.position,
        "title": target["title"] if readable else None,
        "path": _path(row) if readable else None,
        "createdBy": str(row.created_by),
        "createdAt": clock.to_rfc3339(row.created_at),
    }


def shared_link(row: MediaLink) -> Json:
    """Render a link with its file, for the members of a course."""
    return link(row) | {"media": shared(row.media)}


def blocker(row: MediaLink) -> Json:
    """Render a link as what keeps a file from being deleted."""
    shown = link(row)
    target = {"type": shown["targetType"], "id": shown["targetId"], "title": shown["title"], "path": shown["path"]}
    return {**target, "linkId": shown["id"], "role": shown["role"]}


def _path(row: MediaLink) -> list[Json]:
    """Name the stops from the course to the target."""
    chapter = row.video.chapter if row.video else row.chapter
    stops = [("course", row.home), ("chapter", chapter), ("video", row.video)]
    return [{"type": type_, "id": str(stop.pk), "title": stop.title} for type_, stop in stops if stop]


def history(row: HistoryEntry) -> Json:
    """Render a line of history."""
    return {
        "id": str(row.pk),
        "mediaId": str(row.media_id),
        "mediaName": row.media_name,
        "action": row.action,
        "actorId": str(row.actor_id) if row.actor_id else None,
        "operationId": row.operation_id or None,
        "details": row.details,
        "at": clock.to_rfc3339(row.created_at),
    }
