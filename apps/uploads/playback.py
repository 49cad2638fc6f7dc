"""Reading files: signed URLs, so that players fetch ranges from storage itself."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

from apps.core import clock, errors
from apps.uploads import show, storage
from apps.uploads.models import StoredFile

LEAST_SECONDS, SPARE_SECONDS, LONGEST_SECONDS = 3600, 3600, 86400
_SHOWN_INLINE = ("video/", "audio/", "image/png", "image/jpeg", "image/webp", "image/gif", "application/pdf")


def of(file: StoredFile) -> dict[str, Any]:
    """
    Make a URL for reading a file, and say until when it holds: its duration and an hour, at most a day.

    Content-Type and Content-Disposition are ours, whatever the uploader said.

    Raises:
        errors.Gone: storage has lost it.
    """
    if file.missing_since:
        raise errors.Gone("This file is missing from storage; upload it again.")
    lasts = lifetime(file)
    expires_at = clock.now() + lasts
    is_inline = file.content_type.startswith(_SHOWN_INLINE)
    url = storage.store().presign_get(
        *(file.key, int(lasts.total_seconds())),
        content_type=file.content_type,
        disposition=disposition(file.filename, inline=is_inline),
    )
    return {"url": url, "expiresAt": clock.to_rfc3339(expires_at), "file": show.final_data(file)}


def lifetime(file: StoredFile) -> timedelta:
    """Tell how long a URL for reading a file holds."""
    lasts = -(-(file.duration_ms or 0) // 1000)
    return timedelta(seconds=min(LONGEST_SECONDS, max(LEAST_SECONDS, lasts + SPARE_SECONDS)))


def disposition(filename: str, *, inline: bool) -> str:
    """Write a Content-Disposition (RFC 6266) for any name."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in filename)
    return f"{'inline' if inline else 'attachment'}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
