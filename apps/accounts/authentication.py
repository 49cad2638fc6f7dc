"""Who is asking: an access token, or a Django session with its CSRF token."""

from functools import lru_cache
from typing import Any

from rest_framework import authentication, exceptions
from rest_framework.request import Request
from rest_framework_simplejwt import exceptions as jwt_errors
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.tokens import Token

from apps.accounts import tokens
from apps.accounts.models import User
from apps.core import clock, errors, sql


class BearerAuthentication(JWTAuthentication):
    """``Authorization: Bearer <access token>``."""

    def get_raw_token(self, header: bytes) -> bytes | None:
        """Find the token in the header. Its scheme may be written in any case (RFC 9110, section 11.1)."""
        return super().get_raw_token(header[:6].title() + header[6:])

    def get_validated_token(self, raw_token: bytes) -> Token:
        """Read a token, which must not have expired by now. A signature that was right once is right for ever."""
        token = _read(raw_token)
        token.check_exp(current_time=clock.now())
        return token

    def get_user(self, validated_token: Token) -> Any:
        """Find the user a token names, for whom it must still be good. Every request asks this, hence in SQL."""
        found = sql.instances(User, "SELECT * FROM accounts_user WHERE id = %s::uuid", [validated_token["user_id"]])
        user = next(iter(found), None)
        if user is None or not tokens.is_good_for(user, validated_token):
            raise exceptions.AuthenticationFailed
        return user

    def authenticate(self, request: Request) -> Any:
        try:
            return super().authenticate(request)
        except (jwt_errors.TokenError, exceptions.AuthenticationFailed):
            raise errors.NotAuthenticated("The access token is not valid, or no longer.") from None


@lru_cache(maxsize=1_000)
def _read(raw_token: bytes) -> Token:
    return JWTAuthentication().get_validated_token(raw_token)


def user_of(request: Request) -> User:
    """Give the user who sent a request that only users may send."""
    assert isinstance(request.user, User)
    return request.user


class SessionAuthentication(authentication.SessionAuthentication):
    """A session as the admin makes it; answers 401, not 403, to those without one."""

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return "Session"
