"""The one place where errors become answers: ``{"success": false, "error": {"code", "message", "fields"?}}``."""

import logging
from typing import Any

from django.core import exceptions as django_errors
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions as drf_errors

from apps.core import errors, outages

log = logging.getLogger(__name__)


def answer_error(error: errors.CourseHubError) -> JsonResponse:
    """Render an error, with ``Retry-After`` and ``WWW-Authenticate`` where they belong."""
    response = JsonResponse({"success": False, "error": error.as_dict()}, status=error.status)
    if isinstance(error, errors.Throttled | errors.Unavailable):
        response["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, errors.NotAuthenticated):
        response["WWW-Authenticate"] = 'Bearer realm="api"'
    return response


def handle_exception(exception: Exception, context: dict[str, Any]) -> JsonResponse:  # noqa: ARG001
    """Render whatever a view raised (Django REST framework's ``EXCEPTION_HANDLER``)."""
    return answer_error(translate(exception))


def translate(exception: Exception) -> errors.CourseHubError:
    """Find the CourseHub error that says what any exception means to a client; what is unexpected is logged."""
    match exception:
        case errors.CourseHubError():
            return exception
        case drf_errors.NotAuthenticated() | drf_errors.AuthenticationFailed():
            return errors.NotAuthenticated(_detail(exception))
        case drf_errors.PermissionDenied():
            return errors.PermissionDenied(_detail(exception))
        case drf_errors.MethodNotAllowed():
            return errors.MethodNotAllowed()
        case drf_errors.UnsupportedMediaType():
            return errors.UnsupportedMediaType()
        case drf_errors.Throttled():
            return errors.Throttled(int(getattr(exception, "wait", None) or 1))
        case drf_errors.NotFound() | Http404():
            return errors.NotFound()
        case django_errors.RequestDataTooBig():
            return errors.PayloadTooLarge()
        case django_errors.SuspiciousOperation():
            return errors.Invalid()
        case drf_errors.APIException() if exception.status_code < 500:
            return errors.Invalid(_detail(exception))
        case OperationalError() | InterfaceError():
            outages.report(log, "The database is away.", exception)
            return errors.Unavailable()
        case DatabaseError():
            log.exception("The database refused a statement.")
            return errors.CourseHubError()
        case _:
            log.exception("A request crashed.")
            return errors.CourseHubError()


def _detail(exception: drf_errors.APIException) -> str:
    """Say a Django REST framework error in one sentence, if it has one."""
    detail: Any = exception.detail
    if isinstance(detail, dict):
        detail = detail.get("detail", "")
    return str(detail) if isinstance(detail, str) else ""


def not_found(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:  # noqa: ARG001
    """Answer unknown paths."""
    return answer_error(errors.NotFound("There is nothing at this path."))


def bad_request(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:  # noqa: ARG001
    """Answer what Django itself refuses: a host that is not allowed, a suspicious path."""
    return answer_error(errors.Invalid())


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:  # noqa: ARG001
    """Answer what Django's own views forbid."""
    return answer_error(errors.PermissionDenied())


def csrf_failure(request: HttpRequest, reason: str = "") -> JsonResponse:  # noqa: ARG001
    """Answer a session's request without its CSRF token."""
    return answer_error(errors.PermissionDenied("The CSRF token is missing or wrong."))


def server_error(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """Answer a crash outside of Django REST framework's views."""
    return answer_error(errors.CourseHubError())
