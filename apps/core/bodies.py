"""Request bodies before any view: how long they are, and what becomes of those that are too long."""

import contextlib
import io
from typing import Any

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from gunicorn.http.errors import ParseException
from rest_framework.parsers import BaseParser

from apps.core import errors, rendering

_LEFT_TO_THE_SERVER = 64 * 1024
"""So much of an unread body gunicorn throws away by itself, and keeps the connection."""

_DISCARDED_AT_MOST = 64 * 1024 * 1024
_DISCARDING_SECONDS = 2.0
_PIECE = 64 * 1024

BROKEN = (OSError, ParseException)
"""What reading a body raises when its connection breaks, nothing comes for too long, or its chunks are malformed."""

_left_to_views: list[str] = []


class LeftToView(BaseParser):
    """Reads nothing of a body: views do. Django REST framework only looks for a session's CSRF token there."""

    media_type = "application/json"

    def parse(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002
        """Find nothing."""
        return {}


def leave_to_view(prefix: str) -> None:
    """Say that the views below a path read their bodies by themselves, however long they are."""
    _left_to_views.append(prefix)


def refusal(request: HttpRequest) -> errors.CourseHubError | None:
    """Say why a body is not taken, if it is over the limit or broken; reads one only if it comes in chunks."""
    try:
        return errors.PayloadTooLarge() if _is_too_large(request) else None
    except BROKEN:
        return errors.Invalid("The body breaks off, or its chunks are malformed.")


def _is_too_large(request: HttpRequest) -> bool:
    if request.path.startswith(tuple(_left_to_views)):
        return False
    if _comes_in_chunks(request):
        return _read_chunks(request) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    length = request.META.get("CONTENT_LENGTH") or "0"
    return length.isdigit() and int(length) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE


def refuse(request: HttpRequest, error: errors.CourseHubError) -> JsonResponse:
    """
    Answer with an error at once, and throw away what still comes.

    Closing a connection with unread data resets it, and the client would see that instead of the answer.
    """
    response = rendering.answer_error(error)
    throw_rest_away(request, response)
    return response


def see_to_unread(request: HttpRequest, response: HttpResponseBase) -> None:
    """Throw away a body that nobody read, as when it was refused who sent it."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    is_read = request._read_started or request.path.startswith(tuple(_left_to_views))  # type: ignore[attr-defined]
    if not is_read and length.isdigit() and int(length) > _LEFT_TO_THE_SERVER:
        throw_rest_away(request, response)


def throw_rest_away(request: HttpRequest, response: HttpResponseBase) -> None:
    """Have a response sent although its request's body was not read, or not to its end."""
    response["Connection"] = "close"
    response._resource_closers.append(lambda: _discard(request.META))  # type: ignore[attr-defined]


def _comes_in_chunks(request: HttpRequest) -> bool:
    return "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower() and "wsgi.input" in request.META


def _read_chunks(request: HttpRequest) -> int:
    """
    Take in a body without a length, as far as the limit goes, and give it to the request.

    Django by itself reads nothing of it and takes it for empty.
    """
    body = request.META["wsgi.input"].read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    request._stream = io.BytesIO(body)
    request.META["CONTENT_LENGTH"] = str(len(body))
    return len(body)


def _discard(environ: dict[str, Any]) -> None:
    socket = environ.get("gunicorn.socket")
    if socket is not None:
        socket.settimeout(_DISCARDING_SECONDS)
    left = _DISCARDED_AT_MOST
    with contextlib.suppress(*BROKEN):
        while left > 0 and (piece := environ["wsgi.input"].read(_PIECE)):
            left -= len(piece)
