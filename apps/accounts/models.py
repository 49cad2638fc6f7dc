"""Users."""

from uuid import UUID

from django.contrib.auth.models import AbstractUser
from django.db import models

from apps.core import ids


class User(AbstractUser):
    """Someone with a login. Everything they own refers to ``id``, never to the name."""

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
