"""Making, signing in and disabling users."""

from django.contrib.auth import authenticate, password_validation
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from apps.accounts import signals
from apps.accounts.models import User
from apps.core import errors


def register(*, username: str, password: str, email: str) -> User:
    """
    Make a user.

    Raises:
        errors.Invalid: the name is taken or not one, the address is none, or the password too weak.
    """
    user = User(username=User.normalize_username(username), email=User.objects.normalize_email(email))
    user.set_password(password)
    try:
        user.full_clean(validate_unique=False)
        password_validation.validate_password(password, user)
    except ValidationError as error:
        raise errors.Invalid("Some fields are not valid.", fields=_fields(error)) from None
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:
        raise errors.Invalid("This name is taken.", fields={"username": ["This name is taken."]}) from None
    return user


def sign_in(request: HttpRequest, *, username: str, password: str) -> User:
    """
    Check a name and password.

    Raises:
        errors.NotAuthenticated: they do not belong together, or the user is disabled.
        errors.Throttled: too many were wrong in this minute.
    """
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User):
        raise errors.NotAuthenticated("No active account has this name and password.")
    return user


@transaction.atomic
def disable(user: User) -> None:
    """Shut a user out: no more requests, and open connections are closed."""
    user.is_active = False
    user.save(update_fields=["is_active"])
    signals.user_disabled.send(User, user=user)


def _fields(error: ValidationError) -> dict[str, list[str]]:
    if hasattr(error, "error_dict"):
        return dict(error.message_dict)
    return {"password": list(error.messages)}
