"""Bodies of requests and answers about uploads."""

from typing import Annotated, Any, Literal

from django.conf import settings
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    RootModel,
    StringConstraints,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from apps.core import documentation
from apps.core.pagination import Page
from apps.core.schemas import Body, Id, Text
from apps.operations.schemas import Mutation
from apps.uploads import sizes, targets


class _AnyTarget:
    """Says in the OpenAPI document what targets there are; they check themselves."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | targets.schema()


class _Largest:
    """Says in the OpenAPI document how large a file may be; a larger one is refused as such."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | {"maximum": settings.UPLOAD_MAX_BYTES}


Size = Annotated[int, Field(ge=0, le=2**53 - 1)]
FileSize = Annotated[int, Field(ge=1, le=2**53 - 1), _Largest()]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=65_536)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ETag = Annotated[Text, StringConstraints(min_length=1, max_length=253)]
"""With the quotes that it is kept in it has 255 characters."""
PartNumber = Annotated[int, Field(ge=1, le=sizes.PARTS_MAX)]
Target = Annotated[dict[str, Any], _AnyTarget()]
_NUMBER = r"([1-9][0-9]{0,3}|10000)"
_SIGNED_AT_ONCE = 1_000


class FileData(Body):
    """A file, as it was found to be; ``duration`` in seconds, ``checksum`` a SHA-256 in hex where it is known."""

    size: int
    content_type: str
    filename: str
    duration: float | None
    width: int | None
    height: int | None
    codecs: list[str]
    format: str
    checksum: str | None
    created_at: str


class UploadData(Body):
    """An upload."""

    model_config = ConfigDict(extra="allow")

    id: Id
    operation_id: str | None
    kind: str | None
    protocol: Literal["tus", "s3"]
    filename: str
    status: Literal["uploading", "processing", "complete", "error", "aborted"]
    progress: int
    bytes: int
    total: int | None
    part_size: int
    url: str
    error: dict[str, Any] | None
    final_data: FileData | None
    created_at: str
    expires_at: str | None
    finished_at: str | None


class UploadIdData(Body):
    """The upload concerned."""

    model_config = ConfigDict(extra="allow")

    upload_id: Id


class UploadPage(Page):
    """Which page of which uploads."""

    resumable: Annotated[bool, Field(description="Only those that are still open.")] = False


class CreateMultipart(Mutation):
    """
    An upload that goes straight to storage.

    ``metadata`` is what Uppy has in it: ``target`` (an object or its JSON), and whatever else this body knows. What is
    in the body itself comes first.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["target"]},
                {"required": ["metadata"], "properties": {"metadata": {"required": ["target"]}}},
            ]
        }
    )

    filename: Name
    type: Text = ""
    size: FileSize | None = None
    checksum: Sha256 | None = None
    target: Target = Field(default_factory=dict)
    metadata: dict[str, Any] = {}


class Parts(Body):
    """Which parts have arrived, as storage answered to them."""

    parts: Annotated[list["PartDone"], Field(min_length=1, max_length=sizes.PARTS_MAX)]


class PartDone(Body):
    """One part; the names outside are those of S3."""

    model_config = ConfigDict(alias_generator=None)

    number: Annotated[PartNumber, Field(alias="PartNumber")]
    etag: Annotated[ETag, Field(alias="ETag")]
    size: Annotated[Size | None, Field(alias="Size")] = None


class Numbers(BaseModel):
    """Which parts to sign, separated by commas."""

    model_config = ConfigDict(extra="ignore")

    partNumbers: Annotated[str, StringConstraints(pattern=rf"^{_NUMBER}(,{_NUMBER}){{0,{_SIGNED_AT_ONCE - 1}}}$")]  # noqa: N815


class SignBatch(Body):
    """Which parts to sign."""

    part_numbers: Annotated[list[PartNumber], Field(min_length=1, max_length=_SIGNED_AT_ONCE)]


class MultipartAccepted(documentation.accepted(UploadIdData)):  # type: ignore[misc]
    """An upload that is open; ``key`` and ``uploadId`` are where Uppy looks for them."""

    key: str
    uploadId: Id  # noqa: N815


class MultipartCompleted(MultipartAccepted):
    """An upload that is handed to the workers; ``location`` is the upload's own path."""

    location: str


class Arrived(RootModel[list["PartDone"]]):
    """The parts that have arrived."""


class Signed(Body):
    """Where a part may be sent, and for how many seconds."""

    url: str
    method: Literal["PUT"]
    expires: int


class SignedBatch(Body):
    """Where parts may be sent, by number."""

    presigned_urls: dict[str, str]


Parts.model_rebuild()
Arrived.model_rebuild()
