"""What the rules know of a library: rows as values, and the part of it that is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from apps.core.errors import CourseHubError

SOURCE = "source"
"""The role in which a file is a video's own: it decides the video's file, status and playback."""
SINGLE_ROLES = {SOURCE: "video", "thumbnail": "image"}
"""Roles in which a target has one file at most, and the category that the file must have."""
POSITION_MAX = 2**31 - 1
"""The last position at a target. Several links may share it."""


class Target(NamedTuple):
    """Something that files are linked to: ``type`` is course, chapter or video."""

    type: str
    id: str


class Place(NamedTuple):
    """A role at a target."""

    target: Target
    role: str


@dataclass(frozen=True, slots=True)
class FileRow:
    """
    A file; ``number`` is its current version's, None before there is one. ``link_count`` is not saved from here.

    ``used_at`` is when the youngest of the links that went in this batch was made.
    """

    id: str
    name: str
    category: str
    status: str
    content_type: str
    size: int
    number: int | None
    link_count: int
    version: int
    updated_at: datetime
    deleted_at: datetime | None = None
    purge_at: datetime | None = None
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class VersionRow:
    """What a version of a file brings with it; ``file`` is what is stored of it, as events tell it."""

    category: str
    content_type: str
    size: int
    file: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A link; ``home_id`` is the course of its target."""

    id: str
    media_id: str
    home_id: str
    target: Target
    role: str
    position: int
    created_by: str
    created_at: datetime

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(self.target, self.role)

    @property
    def is_source(self) -> bool:
        """Whether its target, a video, has its file by it."""
        return self.role == SOURCE


@dataclass(frozen=True, slots=True)
class CourseRow:
    """A course that files are linked into; ``roles`` has those of the people concerned."""

    id: str
    is_deleted: bool
    roles: Mapping[str, str]

    def may_edit(self, user: str) -> bool:
        """Say whether someone may change what is in it."""
        return self.roles.get(user) in ("owner", "editor")


@dataclass(slots=True)
class Library:
    """
    A library as far as it is loaded.

    ``removed`` has the links that each file's deletion took away. ``homes`` maps every target that is there to its
    course; ``last`` to its greatest position. ``handed`` are links that wait for their deleted course's return;
    ``unborn`` are ids whose creation failed; ``uploading`` are videos that a file is being uploaded to.
    """

    owner_id: str
    files: dict[str, FileRow] = field(default_factory=dict)
    links: dict[str, LinkRow] = field(default_factory=dict)
    removed: dict[str, dict[str, LinkRow]] = field(default_factory=dict)
    versions: dict[str, dict[int, VersionRow]] = field(default_factory=dict)
    courses: dict[str, CourseRow] = field(default_factory=dict)
    homes: dict[Target, str] = field(default_factory=dict)
    last: dict[Target, int] = field(default_factory=dict)
    handed: dict[str, LinkRow] = field(default_factory=dict)
    unborn: set[str] = field(default_factory=set)
    uploading: set[str] = field(default_factory=set)

    def copy(self) -> "Library":
        """Copy it so that changing one leaves the other alone. Rows are immutable and shared."""
        return replace(
            self,
            files=dict(self.files),
            links=dict(self.links),
            removed={media: dict(links) for media, links in self.removed.items()},
            last=dict(self.last),
            handed=dict(self.handed),
            unborn=set(self.unborn),
        )

    def add(self, link: LinkRow) -> None:
        """Add a link; what comes to its target without a position comes after it."""
        self.links[link.id] = link
        self.last[link.target] = max(self.last.get(link.target, -1), link.position)

    def links_of(self, media_id: str) -> list[LinkRow]:
        """List a file's links, oldest first."""
        return sorted((link for link in self.links.values() if link.media_id == media_id), key=lambda link: link.id)

    def taken(self, place: Place, media_id: str) -> LinkRow | None:
        """Find the link that keeps a file from being linked at a place, or that will when its course returns."""
        at = (link for link in chain(self.links.values(), self.handed.values()) if link.place == place)
        return next((link for link in at if place.role in SINGLE_ROLES or link.media_id == media_id), None)


@dataclass(frozen=True, slots=True)
class Change:
    """
    One change. ``actor`` is a user's id, or empty: nobody, who may do nothing. ``payload`` has the fields of the action
    as docs/media.md names them.
    """

    action: str
    actor: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """An event, and the topics that it is told on."""

    type: str
    data: Mapping[str, Any]
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of history: what was done to which file."""

    media_id: str
    media_name: str
    action: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What one change led to; ``is_open``: it has only begun. ``fed`` are videos that have another file by it."""

    data: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    history: tuple[Entry, ...] = ()
    error: CourseHubError | None = None
    is_open: bool = False
    fed: tuple[str, ...] = ()
