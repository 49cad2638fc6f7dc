"""The base of every view that mutates: naming, replaying, submitting, answering."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from django.http import JsonResponse
from pydantic import BaseModel
from rest_framework.request import Request

from apps.accounts.authentication import user_of
from apps.core import documentation, errors, logs
from apps.core.api import ApiView, json_body
from apps.core.schemas import parse
from apps.operations import submit
from apps.operations.schemas import Headers, Mutation

Model = TypeVar("Model", bound=Mutation)

_HEADERS = ("Operation-Id", "Operation-Expect", "Idempotency-Key")
_DOCUMENTED = documentation.headers(Headers)


class MutationView(ApiView):
    """A view whose requests become steps of operations."""

    def mutate(
        self, request: Request, model: type[Model], plan: Callable[[Model, submit.Identity], submit.Plan]
    ) -> JsonResponse:
        """
        Check the body, answer a repeated request as the first time, otherwise submit what ``plan`` makes of it.

        ``plan`` refuses what can be refused now by raising.
        """
        raw = json_body(request)
        body = parse(model, raw)
        identity = identity_of(request, body)
        digest = submit.fingerprint(
            method=str(request.method), path=request.get_full_path(), body=raw, expect=identity.expect
        )
        user = user_of(request)
        return accept(
            submit.once(*(user, identity, digest), lambda: submit.submit(user, identity, digest, plan(body, identity)))
        )


def identity_of(request: Request, body: Mutation) -> submit.Identity:
    """
    Find out how a request names itself, in its body or its headers.

    Raises:
        errors.Invalid: a header is malformed, or says something else than the body.
    """
    given = {name: request.headers[name] for name in _HEADERS if name in request.headers}
    headers = parse(Headers, given)
    named = {}
    for field, header in zip(("operation_id", "expect", "step_id"), _HEADERS, strict=True):
        in_body, in_header = getattr(body, field), getattr(headers, field) or None
        if in_body is not None and in_header is not None and in_body != in_header:
            raise errors.Invalid(fields={header: ["The header and the body differ."]})
        named[field] = in_header if in_body is None else in_body
    return submit.Identity(
        operation_key=named["operation_id"],
        request_key=named["step_id"] or "1",
        expect=named["expect"],
        idempotency_header_only=named["operation_id"] is None and headers.step_id != "",
    )


def accept(accepted: submit.Accepted) -> JsonResponse:
    """Answer 202: taken, and on its way."""
    logs.add(operationId=accepted.operation_key)
    content = {"success": True, "operationId": accepted.operation_key, "immediate": True, "data": accepted.data}
    location = f"/api/v1/operations/{accepted.operation_key}/"
    return JsonResponse(content, status=202, headers={"Operation-Location": location})


def mutation(
    data: type[BaseModel],
    *,
    body: type[Mutation] = Mutation,
    query: type[BaseModel] | None = None,
    answer: type[BaseModel] | None = None,
    can_fail: Sequence[int] = (),
    also: Mapping[int, type[BaseModel]] = MappingProxyType({}),
) -> Callable[[documentation.View], documentation.View]:
    """
    Document a mutation; ``data`` is what its 202 says besides the operationId, ``answer`` all that it says.

    ``also``: what it answers where nothing is changed.
    """
    failures: Any = {400, 403, 409, 413, 415, 422, *can_fail}
    return documentation.answers(
        data,
        answer=answer or documentation.accepted(data),
        body=body,
        query=query,
        status=202,
        can_fail=failures,
        parameters=_DOCUMENTED,
        also=also,
    )
