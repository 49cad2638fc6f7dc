"""
Files that videos have from somewhere else than an upload of their own.

An app above registers where they come from. As long as a video has such a file, that is its file, whatever was uploaded
to it before; nothing is uploaded to it meanwhile.
"""

from collections.abc import Collection, Mapping
from typing import Protocol
from uuid import UUID

from apps.uploads.models import StoredFile


class Origin(Protocol):
    """Somewhere that videos have files from."""

    def of_videos(self, video_ids: Collection[UUID]) -> Mapping[UUID, StoredFile]:
        """Map those of the videos that have a file from here to it."""

    def of_course(self, course_id: UUID) -> Mapping[UUID, StoredFile]:
        """Map those videos of a course that have a file from here to it."""


_origins: list[Origin] = []


def register(origin: Origin) -> None:
    """Take files from one more place."""
    _origins.append(origin)


def of_videos(video_ids: Collection[UUID]) -> dict[UUID, StoredFile]:
    """Map those of the videos that have a file from elsewhere to it."""
    return {id_: file for origin in _origins for id_, file in origin.of_videos(video_ids).items()} if video_ids else {}


def of_course(course_id: UUID) -> dict[UUID, StoredFile]:
    """Map those videos of a course that have a file from elsewhere to it."""
    return {id_: file for origin in _origins for id_, file in origin.of_course(course_id).items()}
