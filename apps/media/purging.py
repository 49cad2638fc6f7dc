"""Letting go of files for good."""

from collections.abc import Collection
from uuid import UUID

from apps.media.models import Media
from apps.uploads import purges
from apps.uploads.models import StoredFile


def purge(files: Collection[UUID]) -> None:
    """
    Delete files with all their versions, in the caller's transaction; what storage has of them goes durably after it.

    They must be locked, and in the trash: a file that is linked cannot go.
    """
    if not files:
        return
    stored = list(StoredFile.objects.filter(pk__in=_stored_of(files)))
    Media.objects.filter(pk__in=files).delete()
    purges.discard(stored, reason="media purged")


def _stored_of(files: Collection[UUID]) -> list[UUID]:
    from apps.media.models import MediaVersion

    return list(MediaVersion.objects.filter(media__in=files).values_list("file", flat=True))
