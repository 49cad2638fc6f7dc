"""Bodies of requests and answers about courses."""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from apps.core.schemas import Body, Filename, Id, Key, Position, Reference, TempId, Text, Title, Version
from apps.courses.currencies import ISO_4217
from apps.operations.schemas import Mutation
from apps.uploads.schemas import FileData

CHANGES_MAX = 2_000
LIST_MAX = 10_000


_DECIMAL = re.compile(r"[0-9]{1,8}(\.[0-9]{1,2})?")


def _price(value: object) -> object:
    """Take a decimal as text or number, at most 99,999,999.99, and give it two decimals."""
    is_text = isinstance(value, str) and _DECIMAL.fullmatch(value)
    if not is_text and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise PydanticCustomError("price", "A price is a decimal in a string, such as 19.90")
    try:
        price = Decimal(str(value))
        cents = price.quantize(Decimal("0.01"))
    except InvalidOperation:
        raise PydanticCustomError("price", "A price is a decimal in a string, such as 19.90") from None
    if not price.is_finite() or cents != price or not 0 <= price < 100_000_000:
        raise PydanticCustomError("price", "A price is at least 0, below 100000000, with at most two decimals")
    return f"{abs(cents):.2f}"


def _currency(code: str) -> str:
    if code not in ISO_4217:
        raise PydanticCustomError("currency", "This is not a currency code of ISO 4217")
    return code


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


Optional = Field(default="", json_schema_extra=_without_default)
"""A field that may be left out but not be null; whether it was there is in ``model_fields_set``."""

Price = Annotated[str, BeforeValidator(_price), WithJsonSchema({"type": "string", "pattern": r"^\d{1,8}(\.\d{1,2})?$"})]
Currency = Annotated[str, AfterValidator(_currency), WithJsonSchema({"type": "string", "enum": sorted(ISO_4217)})]
Description = Annotated[Text, StringConstraints(max_length=10_000)]


# Requests


class CourseFields(Body):
    """A course's own fields."""

    description: Description = ""
    price: Price | None = None
    currency: Currency | None = None


class CreateCourse(Mutation, CourseFields):
    """A new course."""

    title: Title


class UpdateCourse(Mutation, CourseFields):
    """New values for a course's own fields; what is left out stays."""

    title: Annotated[Title, Optional]
    base_version: Version | None = None


class SetMember(Mutation):
    """Someone's new role."""

    username: Annotated[Text, StringConstraints(min_length=1, max_length=150)]
    role: Literal["editor", "viewer"]


class CreateChapter(Mutation):
    """A new chapter."""

    title: Title
    temp_id: TempId | None = None
    position: Position | None = None


class UpdateChapter(Mutation):
    """A chapter's new title; left out, it stays."""

    title: Annotated[Title, Optional]
    base_version: Version | None = None


class UploadTarget(Body):
    """
    The video that an upload is for.

    ``videoId`` names one that is there, or the tempId of one that the same operation created: its file is replaced.
    Otherwise a new one is made in the chapter, which may be named by a tempId too.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": "string"}}}
                for name in ("chapterId", "videoId", "tempId")
            ]
        }
    )

    kind: Literal["video"]
    chapter_id: Reference | None = None
    video_id: Reference | None = None
    temp_id: TempId | None = None
    title: Title | None = None
    position: Position | None = None


class Delete(Mutation):
    """Nothing but, perhaps, the version that is to be deleted."""

    base_version: Version | None = None


class ReorderChapters(Mutation):
    """All chapters of the course, in their new order; ``baseVersion`` is the course's."""

    chapter_ids: Annotated[list[Reference], Field(max_length=LIST_MAX)]
    base_version: Version | None = None


class CreateVideo(Mutation):
    """A new video."""

    title: Title
    filename: Filename = ""
    temp_id: TempId | None = None
    position: Position | None = None


class UpdateVideo(Mutation):
    """A video's new title or filename; what is left out stays."""

    title: Annotated[Title, Optional]
    filename: Annotated[Filename, Optional]
    base_version: Version | None = None


class MoveVideo(Mutation):
    """A video's new place, in any chapter of its course."""

    chapter_id: Reference
    position: Position | None = None
    base_version: Version | None = None


class ReorderVideos(Mutation):
    """All videos of the chapter, in their new order; ``baseVersion`` is the chapter's."""

    video_ids: Annotated[list[Reference], Field(max_length=LIST_MAX)]
    base_version: Version | None = None


class Change(Body):
    """One change of a save."""

    step_id: Key | None = None


class Versioned(Change):
    """A change of something that has a version."""

    base_version: Version | None = None


class CourseUpdate(Versioned, CourseFields):
    """Change the course's own fields."""

    action: Literal["course.update"]
    title: Annotated[Title, Optional]


class ChapterCreate(Change):
    """Add a chapter."""

    action: Literal["chapter.create"]
    title: Title
    temp_id: TempId | None = None
    position: Position | None = None


class ChapterUpdate(Versioned):
    """Rename a chapter."""

    action: Literal["chapter.update"]
    chapter_id: Reference
    title: Annotated[Title, Optional]


class ChapterDelete(Versioned):
    """Delete a chapter and its videos."""

    action: Literal["chapter.delete"]
    chapter_id: Reference


class ChapterReorder(Versioned):
    """Put the chapters into another order."""

    action: Literal["chapter.reorder"]
    chapter_ids: Annotated[list[Reference], Field(max_length=LIST_MAX)]


class VideoCreate(Change):
    """Add a video."""

    action: Literal["video.create"]
    chapter_id: Reference
    title: Title
    filename: Filename = ""
    temp_id: TempId | None = None
    position: Position | None = None


class VideoUpdate(Versioned):
    """Change a video's title or filename."""

    action: Literal["video.update"]
    video_id: Reference
    title: Annotated[Title, Optional]
    filename: Annotated[Filename, Optional]


class VideoDelete(Versioned):
    """Delete a video."""

    action: Literal["video.delete"]
    video_id: Reference


class VideoMove(Versioned):
    """Move a video within the course."""

    action: Literal["video.move"]
    video_id: Reference
    chapter_id: Reference
    position: Position | None = None


class VideoReorder(Versioned):
    """Put a chapter's videos into another order."""

    action: Literal["video.reorder"]
    chapter_id: Reference
    video_ids: Annotated[list[Reference], Field(max_length=LIST_MAX)]


AnyChange = Annotated[
    CourseUpdate
    | ChapterCreate
    | ChapterUpdate
    | ChapterDelete
    | ChapterReorder
    | VideoCreate
    | VideoUpdate
    | VideoDelete
    | VideoMove
    | VideoReorder,
    Field(discriminator="action"),
]


class Save(Mutation):
    """Many changes of one course, applied in the order given; all of them or none if ``atomic``."""

    atomic: bool = False
    changes: Annotated[list[AnyChange], Field(min_length=1, max_length=CHANGES_MAX)]


# Answers


class CourseIdData(Body):
    """The course concerned."""

    course_id: Id


class ChapterIdData(Body):
    """The chapter concerned."""

    chapter_id: Id


class VideoIdData(Body):
    """The video concerned."""

    video_id: Id


class MemberIdData(CourseIdData):
    """The member concerned."""

    user_id: Id


class SaveStepData(Body):
    """One change of a save: its stepId, and the id that it is about."""

    step_id: str
    action: str
    course_id: Annotated[Id, Optional]
    chapter_id: Annotated[Id, Optional]
    video_id: Annotated[Id, Optional]
    temp_id: Annotated[str, Optional]


class SaveData(Body):
    """What a save assigned: ids for tempIds, and a step for each change."""

    ids: dict[str, Id]
    steps: list[SaveStepData]


class CourseData(Body):
    """A course, as its reader sees it."""

    id: Id
    title: str
    description: str
    price: str | None
    currency: str | None
    version: int
    role: Literal["owner", "editor", "viewer"]
    owner_id: Id
    created_at: str
    updated_at: str
    deleted_at: str | None


class ChapterData(Body):
    """A chapter."""

    id: Id
    course_id: Id
    title: str
    position: int
    version: int
    created_at: str
    updated_at: str


class VideoData(Body):
    """A video; ``status`` is ``empty`` until a file comes."""

    id: Id
    course_id: Id
    chapter_id: Id
    title: str
    filename: str
    position: int
    status: Literal["empty", "uploading", "processing", "complete", "error"]
    file: FileData | None
    version: int
    created_at: str
    updated_at: str


class PlaybackData(Body):
    """Where a video can be played from, by whoever has the URL, until it expires; ranges are answered."""

    url: str
    expires_at: str
    file: FileData


class OutlineChapterData(ChapterData):
    """A chapter with its videos in order."""

    videos: list[VideoData]


class OutlineData(Body):
    """A whole course at one moment; ``seq`` is the last event on ``topic`` that it contains."""

    course: CourseData
    chapters: list[OutlineChapterData]
    topic: str
    seq: int


class MemberData(Body):
    """Someone's role."""

    user_id: Id
    username: str
    role: Literal["owner", "editor", "viewer"]
