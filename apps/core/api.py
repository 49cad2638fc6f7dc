"""The base of every REST view: how a body is read and how an answer looks."""

from typing import Any, TypeVar

from django.http import JsonResponse
from pydantic import BaseModel
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.core import errors, incoming, schemas

Model = TypeVar("Model", bound=BaseModel)


class ApiView(APIView):
    """A view that reads JSON and answers JSON."""

    def query(self, model: type[Model]) -> Model:
        """Check the query string against a model. Values arrive as text: the model must be lax where it counts."""
        raw = {name: values[-1] for name, values in self.request.GET.lists()}
        return schemas.parse(model, raw)


def json_body(request: Request) -> Any:
    """
    Read a request's JSON body; an empty body is an empty object.

    Raises:
        errors.UnsupportedMediaType: there is a body and it does not say that it is JSON.
        errors.Invalid: it is not JSON in UTF-8, or nested deeper than `incoming.DEEPEST`.
    """
    body = request._request.body
    if not body:
        return {}
    if request._request.content_type != "application/json":
        raise errors.UnsupportedMediaType
    try:
        value = incoming.read_json(body.decode())
    except ValueError:
        message = f"The body is not JSON in UTF-8, at most {incoming.DEEPEST} levels deep."
        raise errors.Invalid(message) from None
    if not isinstance(value, dict):
        raise errors.Invalid("The body must be a JSON object.")
    return value


def answer(data: Any, **more: Any) -> JsonResponse:
    """Answer a read: ``{"success": true, "data": …}``."""
    return JsonResponse({"success": True, "data": data, **more})
