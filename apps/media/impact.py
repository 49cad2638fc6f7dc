"""What a deletion would do, said beforehand."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Sum

from apps.accounts.models import User
from apps.core import clock, sql
from apps.media import links as link_table
from apps.media import selectors
from apps.media.errors import BLOCKERS_MAX, InTrash
from apps.media.models import Media, MediaVersion

Json = dict[str, Any]


def of_one(media: Media) -> Json:
    """
    Say what deleting a file would do.

    Raises:
        InTrash: it is deleted.
    """
    if media.deleted_at:
        raise InTrash
    links = link_table.first_of_file(media.pk, BLOCKERS_MAX)
    stored = MediaVersion.objects.filter(media=media).aggregate(bytes=Sum("file__size"))["bytes"]
    return {
        "mediaId": str(media.pk),
        "deletable": not media.link_count,
        "linkCount": media.link_count,
        "blockers": selectors.blockers(media.owner_id, links),
        "versions": MediaVersion.objects.filter(media=media).count(),
        "bytes": stored or 0,
        "purgeAt": clock.to_rfc3339(clock.now() + timedelta(days=settings.MEDIA_TRASH_DAYS)),
    }


def of_many(user: User, wanted: Sequence[UUID], *, force: bool) -> Json:
    """Say what deleting these files would do, as they are now."""
    found = sql.rows(_OF_MANY, [user.pk, list(wanted)])
    living = [row for row in found if not row[1]]
    in_use = [] if force else [row for row in living if row[2]]
    going = [row for row in living if force or not row[2]]
    return {
        "total": len(wanted),
        "deletable": len(going),
        "inUse": len(in_use),
        "alreadyDeleted": len(found) - len(living),
        "notFound": len(wanted) - len(found),
        "removedLinks": sum(row[2] for row in going),
        "bytes": sum(row[3] for row in going),
        "inUseIds": [str(row[0]) for row in in_use[:BLOCKERS_MAX]],
    }


_OF_MANY = """
    SELECT media.id, trashed, link_count, coalesce(sum(file.size), 0)::bigint
    FROM media_media media LEFT JOIN media_mediaversion version ON version.media_id = media.id
        LEFT JOIN uploads_storedfile file ON file.id = version.file_id
    WHERE owner_id = %s AND media.id = ANY(%b) GROUP BY media.id ORDER BY media.id
"""
