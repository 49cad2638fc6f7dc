"""Who is asking: an access token, or a Django session with its CSRF token."""

from rest_framework import authentication, exceptions
from rest_framework.request import Request
from rest_framework_simplejwt import exceptions as jwt_errors
from rest_framework_simplejwt.authentication import JWTAuthentication

from apps.core import errors


class BearerAuthentication(JWTAuthentication):
    """``Authorization: Bearer <access token>``."""

    def authenticate(self, request: Request):  # type: ignore[no-untyped-def]
        try:
            return super().authenticate(request)
        except (jwt_errors.InvalidToken, exceptions.AuthenticationFailed):
            raise errors.NotAuthenticated("The access token is not valid, or no longer.") from None


class SessionAuthentication(authentication.SessionAuthentication):
    """A session as the admin makes it; answers 401, not 403, to those without one."""

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return "Session"
