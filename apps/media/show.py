"""How media look in answers."""

from typing import Any

from apps.core import clock
from apps.courses.models import Chapter, Course, Video
from apps.media.library import LinkRow
from apps.media.models import HistoryEntry, Media, MediaLink, MediaVersion
from apps.uploads.show import final_data

Json = dict[str, Any]


def media(row: Media, current: MediaVersion | None) -> Json:
    """Render a file for its owner."""
    return shared(row) | {
        "currentVersion": row.current_version,
        "file": final_data(current.file) if current else None,
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


def version(row: MediaVersion, current: int | None) -> Json:
    """Render a version."""
    return {
        "number": row.number,
        "isCurrent": row.number == current,
        "createdBy": str(row.created_by),
        "createdAt": clock.to_rfc3339(row.created_at),
        "file": final_data(row.file),
    }


def link(row: MediaLink) -> Json:
    """Render a link of `selectors.links`."""
    way = path(row.home, row.video.chapter if row.video else row.chapter, row.video)
    readable: bool = row.readable  # type: ignore[attr-defined]
    return {
        "id": str(row.pk),
        "mediaId": str(row.media_id),
        "targetType": way[-1]["type"],
        "targetId": way[-1]["id"],
        "courseId": str(row.home_id),
        "role": row.role,
        "position": row.position,
        "title": way[-1]["title"] if readable else None,
        "path": way if readable else None,
        "createdBy": str(row.created_by),
        "createdAt": clock.to_rfc3339(row.created_at),
    }


def shared_link(row: MediaLink) -> Json:
    """Render a link with its file, for the members of a course."""
    return link(row) | {"media": shared(row.media)}


def blocker(link: LinkRow, way: list[Json] | None) -> Json:
    """Render a link as what keeps a file from being deleted; ``way`` None: its owner may not read that."""
    target = {"type": link.target.type, "id": link.target.id, "title": way[-1]["title"] if way else None, "path": way}
    return {**target, "linkId": link.id, "role": link.role}


def path(course: Course, chapter: Chapter | None = None, video: Video | None = None) -> list[Json]:
    """Name the stops from a course to a target."""
    stops = (("course", course), ("chapter", chapter), ("video", video))
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
