"""
Videos that have their file from a library: those at which one is linked in the role ``source``.

Such links come, go and change what they give only with the course locked, so that the course's events and outlines
agree on every video's file.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F

from apps.core import sql
from apps.courses import sources
from apps.courses.models import Video, VideoStatus
from apps.media import links as link_table
from apps.media.library import SOURCE
from apps.media.models import MediaLink, MediaVersion
from apps.outbox.emit import Draft
from apps.uploads import show
from apps.uploads.models import StoredFile
from broadcast.contracts import events, topics


class FromLibrary:
    """Where courses find the files that their videos have from libraries."""

    def of_videos(self, video_ids: Collection[UUID]) -> Mapping[UUID, StoredFile]:
        return _files(video__in=video_ids)

    def of_course(self, course_id: UUID) -> Mapping[UUID, StoredFile]:
        return _files(home=course_id)


def _files(**where: Any) -> dict[UUID, StoredFile]:
    """Map videos to the current versions of the files that are their sources."""
    linked = dict(MediaLink.objects.filter(role=SOURCE, video__isnull=False, **where).values_list("video", "media"))
    if not linked:
        return {}
    current = MediaVersion.objects.filter(media__in=set(linked.values()), number=F("media__current_version"))
    files = {version.media_id: version.file for version in current.select_related("file")}
    return {video: files[media] for video, media in linked.items() if media in files}


def fed_by(media_id: UUID) -> list[UUID]:
    """List the videos of which a file is the source."""
    return [UUID(link.target.id) for link in link_table.of_files({str(media_id)}, only_roles=(SOURCE,))]


def tell(videos: Mapping[UUID, str], now: datetime) -> list[tuple[UUID, Draft]]:
    """
    Tell courses which files their videos have now, in the caller's transaction, which has the courses locked.

    ``videos`` maps those concerned to the operationIds of what led to it; those that are gone are left out.
    """
    if not videos:
        return []
    sql.execute("UPDATE courses_video SET updated_at = %s WHERE id = ANY(%b)", [now, sorted(videos)])
    rows = Video.objects.filter(pk__in=videos).select_related("file").order_by("id")
    taken = sources.of_videos(list(videos))
    return [(row.pk, _draft(row, taken.get(row.pk), videos[row.pk])) for row in rows]


def _draft(video: Video, taken: StoredFile | None, operation_id: str) -> Draft:
    file = taken or video.file
    updates = {
        "status": VideoStatus.COMPLETE if taken else video.status,
        "file": show.final_data(file, in_event=True) if file else None,
    }
    data = {"videoId": str(video.pk), "newTitle": video.title, "updates": updates, "version": video.version}
    return Draft(events.VIDEO_UPDATED, topics.course(video.course_id), operation_id, data)
