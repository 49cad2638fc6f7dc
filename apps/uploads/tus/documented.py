"""The requests of tus in the OpenAPI document; what their headers mean is read in `headers`."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from django.conf import settings
from drf_spectacular.openapi import AutoSchema
from pydantic import BaseModel, Field

from apps.core import documentation
from apps.operations.schemas import Headers as Naming
from apps.uploads.tus import headers

BYTES = "application/offset+octet-stream"

_BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_PAIR = rf"[a-zA-Z]{{1,32}} {_BASE64}"
_URL = r"/api/v1/uploads/tus/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_CHARACTER = "[A-Za-z0-9+/]"
_DIGEST = rf"^(?:sha1 {_CHARACTER}{{27}}=|sha256 {_CHARACTER}{{43}}=|md5 {_CHARACTER}{{22}}==)$"
_REASONS = {
    412: "Tus-Resumable is missing, or another version than 1.0.0.",
    413: "More than was announced, than any file may have, or than the user's quotas allow.",
    415: f"The body is not {BYTES}.",
    503: "No place for uploads, or something that is needed is away; see Retry-After.",
}

Size = Annotated[int, Field(ge=1, le=settings.UPLOAD_MAX_BYTES)]
Checksum = Annotated[
    str,
    Field(
        alias="Upload-Checksum",
        pattern=_DIGEST,
        examples=["sha1 Lve95gjOVATpfV8EL5X4nxwjKHE="],
        description="Of the body that comes along.",
    ),
]


class Spoken(BaseModel):
    """What every request says."""

    tus_resumable: Annotated[Literal["1.0.0"], Field(alias="Tus-Resumable")]


class Creation(Spoken):
    """What the creation says of the file."""

    length: Annotated[
        Size, Field(alias="Upload-Length", description="This, Upload-Defer-Length, or a final upload.")
    ] = 1
    defer_length: Annotated[Literal["1"], Field(alias="Upload-Defer-Length")] = "1"
    metadata: Annotated[
        str,
        Field(
            alias="Upload-Metadata",
            pattern=rf"^{_PAIR}(?:,{_PAIR})*$",
            max_length=headers.LONGEST_METADATA,
            description="filename, filetype, target (JSON), and perhaps operationId, stepId, expect and checksum "
            "(SHA-256 of the file in hex), each in Base64. Only partial uploads have no target.",
        ),
    ] = ""
    concat: Annotated[str, Field(alias="Upload-Concat", pattern=rf"^(?:partial|final;{_URL}(?: {_URL})*)$")] = ""
    checksum: Checksum = ""


class Bytes(Spoken):
    """What is said of more bytes."""

    offset: Annotated[int, Field(alias="Upload-Offset", ge=0, le=10**18 - 1)]
    length: Annotated[Size, Field(alias="Upload-Length", description="The file's, where it was deferred.")] = 1
    checksum: Checksum = ""


class BodyRequired(AutoSchema):
    """For views that take no request without bytes."""

    def _get_request_body(self, direction: Any = "request") -> Any:
        body = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        return body and {**body, "required": True}


def answers(
    status: int,
    spoken: type[BaseModel],
    *,
    can_fail: Sequence[int],
    answered: Sequence[str] = (),
    takes_bytes: bool = False,
    names_itself: bool = False,
    **more: Any,
) -> Callable[[documentation.View], documentation.View]:
    """Document a request of tus: its headers, those of its answer, and whether it brings bytes."""
    parameters = [
        *documentation.headers(spoken),
        *(documentation.headers(Naming) if names_itself else ()),
        *documentation.answered_headers(status, "Tus-Resumable", *answered),
    ]
    return documentation.answers(
        None,
        status=status,
        can_fail=(412, *can_fail),
        parameters=parameters,
        content_type=BYTES if takes_bytes else None,
        reasons=_REASONS,
        **more,
    )
