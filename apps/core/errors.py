"""
The errors that CourseHub tells its clients.

One root. ``code`` is for programs, ``message`` (the docstring unless one is given) for a person; services raise, and
`apps.core.rendering` turns them into answers. In a worker the same error becomes a step's ``error``.

    CourseHubError
    ├── Invalid                 400 validation_error
    ├── NotAuthenticated        401 not_authenticated
    ├── PermissionDenied        403 permission_denied
    ├── NotFound                404 not_found
    ├── MethodNotAllowed        405 method_not_allowed
    ├── Conflict                409 conflict
    │   └── VersionConflict     409 version_conflict
    ├── Gone                    410 gone
    ├── PayloadTooLarge         413 payload_too_large
    ├── UnsupportedMediaType    415 unsupported_media_type
    ├── IdempotencyMismatch     422 idempotency_mismatch
    ├── Throttled               429 throttled
    └── Unavailable             503 unavailable
"""

from collections.abc import Mapping
from typing import Any, ClassVar

Fields = Mapping[str, list[str]]


class CourseHubError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str = "", *, fields: Fields | None = None, **extra: Any) -> None:
        self.message = message or (self.__doc__ or "").strip()
        self.fields = fields
        self.extra = extra
        super().__init__(self.message)

    def as_dict(self) -> dict[str, Any]:
        """Render as the contract's ``error`` object."""
        fields = {"fields": dict(self.fields)} if self.fields else {}
        return {"code": self.code, "message": self.message, **fields, **self.extra}


class Invalid(CourseHubError):
    """The request is not valid."""

    code, status = "validation_error", 400


class NotAuthenticated(CourseHubError):
    """Sign in first."""

    code, status = "not_authenticated", 401


class PermissionDenied(CourseHubError):
    """You may not do this."""

    code, status = "permission_denied", 403


class NotFound(CourseHubError):
    """There is no such thing here."""

    code, status = "not_found", 404


class MethodNotAllowed(CourseHubError):
    """This path does not know that method."""

    code, status = "method_not_allowed", 405


class Conflict(CourseHubError):
    """This does not go with the present state of things."""

    code, status = "conflict", 409


class VersionConflict(Conflict):
    """Someone changed this since you last read it."""

    code = "version_conflict"

    def __init__(self, current_version: int) -> None:
        super().__init__(currentVersion=current_version)


class Gone(CourseHubError):
    """This has been deleted."""

    code, status = "gone", 410


class PayloadTooLarge(CourseHubError):
    """The body is too large."""

    code, status = "payload_too_large", 413


class UnsupportedMediaType(CourseHubError):
    """Send application/json."""

    code, status = "unsupported_media_type", 415


class IdempotencyMismatch(CourseHubError):
    """This key was used before, with another request."""

    code, status = "idempotency_mismatch", 422


class Throttled(CourseHubError):
    """Too many requests; try again later."""

    code, status = "throttled", 429

    def __init__(self, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__()


class Unavailable(CourseHubError):
    """This is not available right now; try again soon."""

    code, status = "unavailable", 503
    retry_after_seconds = 1
