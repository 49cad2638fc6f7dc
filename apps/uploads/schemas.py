"""Bodies of requests and answers about uploads."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from apps.core.pagination import Page
from apps.core.schemas import Body, Id, Text, whole
from apps.operations.schemas import Mutation

Size = Annotated[int, Field(ge=0, le=2**53), BeforeValidator(whole)]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=65_536)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ETag = Annotated[Text, StringConstraints(min_length=1, max_length=255)]
PartNumber = Annotated[int, Field(ge=1, le=10_000), BeforeValidator(whole)]


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

    ``metadata`` is what Uppy has in it: ``target`` (an object or its JSON), and whatever else this body knows.
    """

    filename: Name
    type: Text = ""
    size: Size | None = None
    checksum: Sha256 | None = None
    target: dict[str, Any] | None = None
    metadata: dict[str, Any] = {}


class Parts(Body):
    """Which parts have arrived, as storage answered to them."""

    parts: Annotated[list["PartDone"], Field(min_length=1, max_length=10_000)]


class PartDone(Body):
    """One part; the names outside are those of S3."""

    model_config = ConfigDict(alias_generator=None)

    number: Annotated[PartNumber, Field(alias="PartNumber")]
    etag: Annotated[ETag, Field(alias="ETag")]
    size: Annotated[Size | None, Field(alias="Size")] = None


class Numbers(BaseModel):
    """Which parts to sign, separated by commas."""

    model_config = ConfigDict(extra="ignore")

    partNumbers: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,5}(,[0-9]{1,5}){0,9999}$")]  # noqa: N815


class SignBatch(Body):
    """Which parts to sign."""

    part_numbers: Annotated[list[PartNumber], Field(min_length=1, max_length=10_000)]


class MultipartCreated(Body):
    """What Uppy wants to know."""

    key: str
    upload_id: str


Parts.model_rebuild()
