"""How media look in answers."""

from typing import Any
from uuid import UUID

from apps.core import clock
from apps.courses.models import Chapter, Course, Video
from apps.media.library import LinkRow
from apps.media.models import HistoryEntry, Media, MediaVersion
from apps.uploads.show import final_data

Json = dict[str, Any]


def media(row: Media, current: MediaVersion | None) -> Json:
    """Render a file for its owner."""
    return _file(row.pk, row.owner_id, row.name, row.category, row.status, row.content_type, row.size) | {
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


def version(row: MediaVersion, current: int | None) -> Json:
    """Render a version."""
    return {
        "number": row.number,
        "isCurrent": row.number == current,
        "createdBy": str(row.created_by),
        "createdAt": clock.to_rfc3339(row.created_at),
        "file": final_data(row.file),
    }


def link(row: Any) -> Json:
    """Render a link of `selectors.links_of` or `links_at`."""
    way = _way(row)
    return {
        "id": str(row.id),
        "mediaId": str(row.media_id),
        "targetType": way[-1]["type"],
        "targetId": way[-1]["id"],
        "courseId": str(row.home_id),
        "role": row.role,
        "position": row.position,
        "title": way[-1]["title"] if row.readable else None,
        "path": way if row.readable else None,
        "createdBy": str(row.created_by),
        "createdAt": clock.to_rfc3339(row.created_at),
    }


def _file(id_: UUID, owner_id: UUID, name: str, category: str, status: str, content_type: str, size: int) -> Json:
    return {
        "id": str(id_),
        "ownerId": str(owner_id),
        "name": name,
        "category": category,
        "status": status,
        "contentType": content_type,
        "size": size,
    }


def _way(row: Any) -> list[Json]:
    chapter_id, chapter_title = row.chapter_id or row.video__chapter_id, row.chapter__title or row.video__chapter__title
    way = [_stop("course", row.home_id, row.home__title)]
    if chapter_id:
        way.append(_stop("chapter", chapter_id, chapter_title))
    if row.video_id:
        way.append(_stop("video", row.video_id, row.video__title))
    return way


def shared_link(row: Any) -> Json:
    """Render a link of `selectors.links_at` with its file, for the members of a course."""
    file = _file(
        *(row.media_id, row.media__owner_id, row.media__name, row.media__category, row.media__status),
        *(row.media__content_type, row.media__size),
    )
    return link(row) | {"media": file}


def blocker(link: LinkRow, way: list[Json] | None) -> Json:
    """Render a link as what keeps a file from being deleted; ``way`` None: its owner may not read that."""
    target = {"type": link.target.type, "id": link.target.id, "title": way[-1]["title"] if way else None, "path": way}
    return {**target, "linkId": link.id, "role": link.role}


def path(course: Course, chapter: Chapter | None = None, video: Video | None = None) -> list[Json]:
    """Name the stops from a course to a target."""
    stops = (("course", course), ("chapter", chapter), ("video", video))
    return [_stop(type_, stop.pk, stop.title) for type_, stop in stops if stop]


def _stop(type_: str, id_: UUID, title: str) -> Json:
    return {"type": type_, "id": str(id_), "title": title}


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
