"""Users in the admin."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.http import HttpRequest

from apps.accounts import services
from apps.accounts.models import User


@admin.register(User)
class UserAdmin(DjangoUserAdmin):  # type: ignore[type-arg]
    """Django's own, but whoever is disabled is also disconnected, and nobody is deleted."""

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and "is_active" in form.changed_data and not obj.is_active:
            services.disable(obj)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        # Connections would stay open, and courses go with their owner without anyone hearing of it.
        return False
