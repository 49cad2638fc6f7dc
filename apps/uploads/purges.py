"""What storage is to be rid of, written down in the transaction that lets go of it."""

from collections.abc import Iterable

from apps.core import clock
from apps.uploads.models import Purge, StoredFile


def purge(key: str, *, storage_upload_id: str = "", reason: str) -> None:
    """Have an object deleted, or (with ``storage_upload_id``) an unfinished upload aborted, after the commit."""
    now = clock.now()
    Purge.objects.create(key=key, storage_upload_id=storage_upload_id, reason=reason, not_before=now, created_at=now)


def discard(files: Iterable[StoredFile], reason: str = "discarded") -> None:
    """Let go of files that nothing refers to any more: their rows go now, their objects soon."""
    for file in files:
        purge(file.key, reason=reason)
        file.delete()
