"""What each view takes and answers, said once beside the view, for the OpenAPI document."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from pydantic import BaseModel, ConfigDict, create_model

View = TypeVar("View", bound=Callable[..., Any])

_REASONS = {
    400: "Something in the request is not valid.",
    401: "Nobody is signed in.",
    403: "The role does not allow this.",
    404: "There is no such thing, or not for this user.",
    409: "It does not go with the present state of things.",
    410: "The course is deleted, or what was asked for is no longer kept.",
    412: "The version of the protocol is missing or another.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "The key was used before, with another request.",
    423: "Another request holds it and does not let go.",
    429: "Too many requests; see Retry-After.",
    500: "A defect in CourseHub; it is logged under X-Request-ID.",
    460: "The bytes differ from their checksum.",
    502: "File storage refused it.",
    503: "The database, or what else is needed, is away; see Retry-After.",
}


_EVERYWHERE = (
    OpenApiParameter("Operation-Location", str, "header", description="The operation's path.", response=[202]),
    OpenApiParameter("Retry-After", int, "header", description="After so many seconds.", response=[429, 503]),
)
"""The headers that answers of a status have, whatever the view."""


class Error(BaseModel):
    """What went wrong: ``code`` for programs, ``message`` for a person."""

    model_config = ConfigDict(extra="allow")

    code: str
    message: str
    fields: dict[str, list[str]] = {}


class ErrorAnswer(BaseModel):
    """The one form of every error."""

    success: Literal[False]
    error: Error


def answers(
    data: type[BaseModel] | None,
    *,
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    status: int = 200,
    page: bool = False,
    can_fail: Sequence[int] = (),
    signed_in: bool = True,
    parameters: Sequence[OpenApiParameter] = (),
    answer: type[BaseModel] | None = None,
    name: str | None = None,
    content_type: str | None = None,
    without_bodies: bool = False,
    reasons: Mapping[int, str] = MappingProxyType({}),
    also: Mapping[int, type[BaseModel]] = MappingProxyType({}),
) -> Callable[[View], View]:
    """
    Document a view's method: ``data`` is what its answer carries, ``page`` says that it is a list in pages.

    ``answer`` replaces the whole answer's model where it is not ``{success, data}``; ``name`` is the document's
    operationId, where the path makes a misleading one. Without ``data`` and ``answer`` there is no body.
    ``content_type`` is that of a request's body that is bytes; ``without_bodies``: errors have none either (HEAD).
    ``reasons`` say of a status what it means here. ``also``: what other answers carry that are no failures.
    """
    success = answer or (_answer_model(data, page) if data else None)
    failures = {*can_fail, 500, 503, *((401, 429) if signed_in else ())}
    failure = None if without_bodies else ErrorAnswer
    decorate: Callable[[View], View] = extend_schema(
        operation_id=name,
        request={content_type: OpenApiTypes.BINARY} if content_type else body,
        parameters=[*parameters, *_query_parameters(query), *_EVERYWHERE],
        responses={
            status: OpenApiResponse(success, "Done." if status != 202 else "Taken; the events follow."),
            **{code: OpenApiResponse(_answer_model(carried, False), "Done.") for code, carried in also.items()},
            **{code: OpenApiResponse(failure, {**_REASONS, **reasons}[code]) for code in sorted(failures)},
        },
    )
    return decorate


@cache
def _answer_model(data: type[BaseModel], page: bool) -> type[BaseModel]:
    carried: Any = list[data] if page else data  # type: ignore[valid-type]
    fields: dict[str, Any] = {"success": (Literal[True], ...), "data": (carried, ...)}
    if page:
        fields["next"] = (str | None, ...)
    name = f"{data.__name__.removesuffix('Data')}{'Page' if page else 'Answer'}"
    return create_model(name, **fields)


def _query_parameters(query: type[BaseModel] | None) -> list[OpenApiParameter]:
    return _parameters(query, "query") if query else []


def headers(model: type[BaseModel]) -> list[OpenApiParameter]:
    """Document request headers; ``model`` has a field for each, with the header's name as its alias."""
    return _parameters(model, "header")


def answered_headers(status: int, *names: str) -> list[OpenApiParameter]:
    """Document the headers of a successful answer."""
    return [OpenApiParameter(name, str, "header", response=[status]) for name in names]


def _parameters(model: type[BaseModel], place: Literal["query", "header"]) -> list[OpenApiParameter]:
    schema = model.model_json_schema()
    needed = schema.get("required", ())
    return [
        OpenApiParameter(name, _plain(said), place, required=name in needed)
        for name, said in schema["properties"].items()
    ]


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Say of an optional parameter only what it is when it is there."""
    kept = {name: value for name, value in schema.items() if name not in ("default", "title", "anyOf")}
    present = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    return kept | (present[0] if present else {})


@cache
def accepted(data: type[BaseModel]) -> type[BaseModel]:
    """Make the model of a mutation's answer."""
    fields: dict[str, Any] = {
        "success": (Literal[True], ...),
        "operationId": (str, ...),
        "immediate": (Literal[True], ...),
        "data": (data, ...),
    }
    return create_model(f"{data.__name__.removesuffix('Data')}Accepted", **fields)


class _Endpoints(EndpointEnumerator):
    def get_allowed_methods(self, callback: Any) -> list[str]:
        also = [name for name in ("HEAD", "OPTIONS") if _is_documented(callback.cls, name)]
        return [*super().get_allowed_methods(callback), *also]  # type: ignore[no-untyped-call]


def _is_documented(view: type, method: str) -> bool:
    return "schema" in getattr(getattr(view, method.lower(), None), "kwargs", {})


class Generator(SchemaGenerator):
    """Makes the OpenAPI document; HEAD and OPTIONS are in it where a view documents them."""

    endpoint_inspector_cls = _Endpoints
