"""What the outbox does when an app below it says that something happened."""

from typing import Any

from apps.accounts.models import User
from apps.core import clock
from apps.outbox import emit


def revoke_everything(sender: type[User], user: User, **kwargs: Any) -> None:  # noqa: ARG001
    """Have every connection of a disabled user closed."""
    emit.emit([emit.revoke_access(user_id=str(user.pk), topic=None)], now=clock.now())
