"""Events: their types, their envelope, and the one way they are encoded."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from broadcast.contracts import topics

COURSE_CREATED: Final = "course-create-complete"
COURSE_UPDATED: Final = "course-update-complete"
COURSE_DELETED: Final = "course-delete-complete"
COURSE_RESTORED: Final = "course-restore-complete"
COURSE_MEMBER_UPDATED: Final = "course-member-update-complete"
CHAPTER_CREATED: Final = "chapter-create-complete"
CHAPTER_UPDATED: Final = "chapter-update-complete"
CHAPTER_DELETED: Final = "chapter-delete-complete"
CHAPTERS_REORDERED: Final = "chapter-reorder-complete"
VIDEO_CREATED: Final = "video-create-complete"
VIDEO_UPDATED: Final = "video-update-complete"
VIDEO_DELETED: Final = "video-delete-complete"
VIDEO_MOVED: Final = "video-move-complete"
VIDEOS_REORDERED: Final = "video-reorder-complete"
MEDIA_CREATED: Final = "media-create-complete"
MEDIA_UPDATED: Final = "media-update-complete"
MEDIA_DELETED: Final = "media-delete-complete"
MEDIA_RESTORED: Final = "media-restore-complete"
MEDIA_PURGED: Final = "media-purge-complete"
MEDIA_LINKED: Final = "media-link-complete"
MEDIA_UNLINKED: Final = "media-unlink-complete"
UPLOAD_PROGRESS: Final = "upload-progress"
UPLOAD_COMPLETED: Final = "upload-complete"
MEDIA_UPLOAD_PROGRESS: Final = "media-upload-progress"
MEDIA_UPLOAD_COMPLETED: Final = "media-upload-complete"
MEDIA_BULK_DELETE_PROGRESS: Final = "media-bulk-delete-progress"
MEDIA_BULK_RESTORE_PROGRESS: Final = "media-bulk-restore-progress"
MEDIA_BULK_PURGE_PROGRESS: Final = "media-bulk-purge-progress"
MEDIA_BULK_LINK_PROGRESS: Final = "media-bulk-link-progress"
MEDIA_BULK_UNLINK_PROGRESS: Final = "media-bulk-unlink-progress"
OPERATION_FAILED: Final = "operation-failed"
BATCH_COMPLETED: Final = "batch-operation-complete"
WITHHELD: Final = "event-withheld"


def completions(constants: Iterable[object]) -> tuple[str, ...]:
    """Give ``x-complete`` for each type ``x-progress`` among these constants."""
    progress = (one for one in constants if isinstance(one, str) and one.endswith("-progress"))
    return tuple(f"{one.removesuffix('-progress')}-complete" for one in progress)


ENDS_PROGRESS: Final = (*completions(list(vars().values())), OPERATION_FAILED, BATCH_COMPLETED)
"""
After these there is no more progress of what they are about.

The same as `broadcast.parcel.Endings` says of live events, as a list: a replay is searched for them before it is read.
"""

ACCESS_REVOKED: Final = "access-revoked"
"""A control message to the broadcast service; no client ever sees it."""

MAX_BYTES: Final = 64 * 1024
"""No encoded event is longer. A longer list is left out of the event, with ``truncated: true`` in its place."""

Event = dict[str, Any]

_encoder: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def envelope(
    *, type_: str, topic: str, operation_id: str | None, seq: int | None, timestamp: int, data: Mapping[str, Any]
) -> Event:
    """
    Put an event into its envelope.

    ``timestamp`` is in milliseconds since the epoch. ``seq`` None: a progress event, which has no place in its
    topic's order. ``operation_id`` None: nobody's operation led to it.
    """
    kind, id_ = topics.parse(topic)
    event: Event = {"type": type_, topics.ENVELOPE_KEYS[kind]: id_}
    if operation_id is not None:
        event["operationId"] = operation_id
    if seq is not None:
        event["seq"] = seq
    event["timestamp"] = timestamp
    event["data"] = dict(data)
    return event


def encode(event: Mapping[str, Any]) -> bytes:
    """Encode an event or frame as UTF-8 JSON without white space."""
    return _encoder.encode(event).encode()


def decode(body: str | bytes) -> Event:
    """Decode what `encode` made."""
    event: Event = json.loads(body)
    return event
