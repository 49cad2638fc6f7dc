"""Access and refresh tokens (JWT by SimpleJWT)."""

from datetime import UTC, datetime
from typing import Any

from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import RefreshToken

from apps.accounts.models import User
from apps.core import clock, errors


def issue(user: User) -> dict[str, Any]:
    """Make a pair of tokens: ``{access, refresh, expiresAt}``, the last being the access token's end."""
    refresh = RefreshToken.for_user(user)
    access = refresh.access_token
    expires_at = datetime.fromtimestamp(access["exp"], UTC)
    return {"access": str(access), "refresh": str(refresh), "expiresAt": clock.to_rfc3339(expires_at)}


def renew(refresh: str) -> dict[str, Any]:
    """
    Make a new pair for the user of a refresh token.

    Raises:
        errors.NotAuthenticated: the token is not valid, or its user no longer is.
    """
    try:
        user_id = RefreshToken(refresh)["user_id"]  # type: ignore[arg-type]
    except (TokenError, KeyError):
        raise errors.NotAuthenticated("The refresh token is not valid, or no longer.") from None
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None:
        raise errors.NotAuthenticated("This user is no longer active.")
    return issue(user)
