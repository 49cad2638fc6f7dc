"""Access and refresh tokens (JWT by SimpleJWT)."""

from datetime import UTC, datetime
from typing import Any

from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken, Token
from rest_framework_simplejwt.utils import get_md5_hash_password

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
        token = RefreshToken(refresh)  # type: ignore[arg-type]
        user_id = token["user_id"]
    except (TokenError, KeyError):
        raise errors.NotAuthenticated("The refresh token is not valid, or no longer.") from None
    user = User.objects.filter(pk=user_id).first()
    if user is None or not is_good_for(user, token):
        raise errors.NotAuthenticated("This user is no longer active, or has another password.")
    return issue(user)


def is_good_for(user: User, token: Token) -> bool:
    """Tell whether its user is still active, and has the password that they had when the token was made."""
    digest = get_md5_hash_password(user.password)
    return user.is_active and token.get(api_settings.REVOKE_TOKEN_CLAIM) == digest
