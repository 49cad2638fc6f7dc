"""Bodies of requests and answers about media."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from apps.core.pagination import DEFAULT_LIMIT, MAX_LIMIT, Page
from apps.core.schemas import Body, Filename, Id, Key, Position, Reference, TempId, Text, Title, Version
from apps.operations.schemas import Mutation
from apps.uploads.schemas import FileData, FileSize, Sha256

BULK_MAX = 10_000


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


Optional = Field(default="", json_schema_extra=_without_default)


def _target_type(value: object) -> object:
    """Take a lesson for what it is: a video."""
    return "video" if value == "lesson" else value


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _as_written(value: object) -> object:
    """Take times as RFC 3339 has them only: pydantic would take numbers, days, and times of nowhere, too."""
    if isinstance(value, str) and not _RFC_3339.fullmatch(value):
        raise PydanticCustomError("time", "A time as RFC 3339 has it, with its offset from UTC")
    return value


def _each_once(ids: list[Any]) -> list[Any]:
    if len(set(ids)) != len(ids):
        raise PydanticCustomError("doubled", "Each id may be named once")
    return ids


TargetType = Annotated[
    Literal["course", "chapter", "video"],
    BeforeValidator(_target_type),
    Field(description="`lesson` is another word for `video`."),
]
Role = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Moment = Annotated[datetime, BeforeValidator(_as_written)]
Search = Annotated[Text, StringConstraints(max_length=200)]
Cursor = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,2000}$")]
Bytes = Annotated[int, Field(ge=0, le=2**63 - 1)]
Category = Literal["video", "image", "document", "other"]
Status = Literal["uploading", "processing", "complete", "error"]
_Unique = Field(json_schema_extra={"uniqueItems": True})
IdList = Annotated[list[Id], Field(min_length=1, max_length=BULK_MAX), AfterValidator(_each_once), _Unique]
Ordering = Annotated[
    str,
    StringConstraints(pattern=r"^-?(created|createdAt|name|size|lastUsed|lastUsedAt)$"),
    Field(description="With - before it: the other way round. Names in lower case, by code points."),
]


# Queries


class Lax(Body):
    """A query string: everything arrives as text."""

    model_config = ConfigDict(strict=False, extra="forbid")


_WORDS = (
    "Words that the name contains. Those of one or two characters have to begin a word of it; those without a letter "
    "or digit are found nowhere."
)


class LibraryQuery(Lax):
    """Which page of which files."""

    cursor: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    category: Category | None = None
    usage: Literal["used", "unused"] | None = None
    q: Annotated[Search, Field(description=_WORDS)] | None = None
    status: Status | None = None
    trashed: Annotated[bool, Field(description="The trash instead of the library.")] = False
    min_size: Bytes | None = None
    max_size: Bytes | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    ordering: Ordering = "-created"


class DeleteQuery(Lax):
    """Whether links may go with the file."""

    force: bool = False


class TargetQuery(Page):
    """Which page of whose links; ``within``: also those of what is in it."""

    target_type: TargetType
    target_id: Id
    within: bool = False


class HistoryQuery(Page):
    """Which page of which entries."""

    media_id: Id | None = None
    action: Annotated[str, StringConstraints(pattern=r"^media\.[a-z]{1,20}$")] | None = None
    actor_id: Id | None = None
    operation: Annotated[Key, Field(description="An operationId.")] | None = None
    after: Moment | None = None
    before: Moment | None = None


# Requests


class UpdateMedia(Mutation):
    """A file's new name; left out, it stays."""

    name: Annotated[Title, Optional]
    base_version: Version | None = None


class DeleteMedia(Mutation):
    """Nothing but, perhaps, the version that is to be deleted."""

    base_version: Version | None = None


class RevertMedia(Mutation):
    """Nothing but, perhaps, the version that it was when one looked."""

    base_version: Version | None = None


class RestoreMedia(Mutation):
    """Which of the links that went with the file are to come back with it."""

    restore_links: Literal["none", "all"] | Annotated[list[Id], Field(max_length=BULK_MAX)] = "none"


class CreateLink(Mutation):
    """A new use of a file; a tempId may stand for a target that the same operation creates."""

    target_type: TargetType
    target_id: Reference
    role: Role = "attachment"
    position: Position | None = None


class BulkFiles(Mutation):
    """The files concerned."""

    media_ids: IdList


class BulkDelete(BulkFiles):
    """``force``: also those that are linked; ``dryRun``: only say what would happen."""

    force: bool = False
    dry_run: bool = False


class BulkRestore(BulkFiles):
    """Whether links are to come back with the files."""

    restore_links: Literal["none", "all"] = "none"


class BulkLink(BulkFiles):
    """Where the files are to be used."""

    target_type: TargetType
    target_id: Reference
    role: Role = "attachment"


class BulkUnlink(Mutation):
    """The links concerned."""

    link_ids: IdList


class UploadTarget(Body):
    """Where an upload belongs: a new file of one's library, or a new version of one that is there."""

    kind: Literal["media"]
    media_id: Id | None = None
    temp_id: TempId | None = None
    name: Title | None = None


class ReplaceMedia(Mutation):
    """A new version of a file, to be uploaded: by tus, or in parts straight to storage."""

    filename: Filename = ""
    type: Text = ""
    size: FileSize
    checksum: Sha256 | None = None
    protocol: Literal["tus", "s3"] = "tus"


# Answers


class MediaIdData(Body):
    """The file concerned."""

    media_id: Id


class LinkIdData(MediaIdData):
    """The link concerned."""

    link_id: Id


class ReplaceData(MediaIdData):
    """The upload that the bytes go to, and its URL."""

    upload_id: Id
    url: str


class BulkData(Body):
    """How many steps the operation has."""

    total: int


class SharedMediaData(Body):
    """A file, as those see it whose courses it is linked into."""

    id: Id
    owner_id: Id
    name: str
    category: Category
    status: Status
    content_type: str
    size: int


class MediaData(SharedMediaData):
    """A file of one's library; ``file`` is what is stored of its current version."""

    current_version: int | None
    file: FileData | None
    link_count: int
    used: bool
    last_used_at: str | None
    version: int
    created_at: str
    updated_at: str
    deleted_at: str | None
    purge_at: str | None


class TotalData(Body):
    """Files and their bytes."""

    count: int
    bytes: int


class TotalsData(Body):
    """Files and bytes by category; filters do not change them, ``trashed`` does."""

    video: TotalData
    image: TotalData
    document: TotalData
    other: TotalData


class LibraryPage(Body):
    """A page of a library."""

    success: Literal[True]
    data: list[MediaData]
    next: str | None
    totals: TotalsData


class VersionData(Body):
    """A version of a file."""

    number: int
    is_current: bool
    created_by: Id
    created_at: str
    file: FileData


class StopData(Body):
    """One stop on the way to a target."""

    type: Literal["course", "chapter", "video"]
    id: Id
    title: str


class LinkData(Body):
    """A link; ``title`` and ``path`` are null for those who may not read the course."""

    id: Id
    media_id: Id
    target_type: Literal["course", "chapter", "video"]
    target_id: Id
    course_id: Id
    role: str
    position: int
    title: str | None
    path: list[StopData] | None
    created_by: Id
    created_at: str


class SharedLinkData(LinkData):
    """A link of a target, with its file."""

    media: SharedMediaData


class MediaDetailData(MediaData):
    """A file with its versions and (at most 50 of) its links."""

    versions: list[VersionData]
    links: list[LinkData]


class BlockerData(Body):
    """Something that uses a file."""

    type: Literal["course", "chapter", "video"]
    id: Id
    title: str | None
    path: list[StopData] | None
    link_id: Id
    role: str


class ImpactData(Body):
    """What deleting a file would do; ``blockers`` are at most 50 of what uses it."""

    media_id: Id
    deletable: bool
    link_count: int
    blockers: list[BlockerData]
    versions: int
    bytes: int
    purge_at: str


class BulkImpactData(Body):
    """What deleting these files would do: how many of them would go, and why the others would not."""

    total: int
    deletable: int
    in_use: int
    already_deleted: int
    not_found: int
    removed_links: int
    bytes: int
    in_use_ids: list[Id]


class HistoryData(Body):
    """Who did what; ``actorId`` null: nobody, it was time."""

    id: Id
    media_id: Id
    media_name: str
    action: str
    actor_id: Id | None
    operation_id: str | None
    details: dict[str, Any]
    at: str
