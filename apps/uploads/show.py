"""How uploads and their files look in answers and events."""

from typing import Any

from apps.core import clock
from apps.uploads import figures
from apps.uploads.models import OPEN, StoredFile, Upload


def final_data(file: StoredFile, *, in_event: bool = False) -> dict[str, Any]:
    """Render what is known of a file. In events times are milliseconds since the epoch."""
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
        "createdAt": clock.to_ms(file.created_at) if in_event else clock.to_rfc3339(file.created_at),
    }


def path(protocol: str, upload_id: object) -> str:
    """Say where an upload's bytes go."""
    return f"/api/v1/uploads/{protocol}/{'multipart/' if protocol == 's3' else ''}{upload_id}"


def upload(upload: Upload) -> dict[str, Any]:
    """Render an upload."""
    return {
        "id": str(upload.pk),
        "operationId": upload.operation_key or None,
        "kind": upload.target_kind or None,
        **upload.target,
        "protocol": upload.protocol,
        "filename": upload.filename,
        "status": upload.status,
        "progress": figures.percent(upload.offset, upload.declared_size),
        "bytes": upload.offset,
        "total": upload.declared_size,
        "partSize": upload.part_size,
        "url": path(upload.protocol, upload.pk),
        "error": upload.error,
        "finalData": final_data(upload.file) if upload.file else None,
        "createdAt": clock.to_rfc3339(upload.created_at),
        "expiresAt": clock.to_rfc3339(upload.expires_at) if upload.status in OPEN else None,
        "finishedAt": clock.to_rfc3339(upload.finished_at),
    }
