"""Users in the admin."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from apps.accounts import services
from apps.accounts.models import User
from apps.core import errors


class LoginForm(AdminAuthenticationForm):
    """Django's own, but it says so where too many passwords were wrong."""

    def clean(self) -> dict[str, Any]:
        try:
            return super().clean()
        except errors.Throttled as error:
            raise ValidationError(error.message) from None


admin.site.login_form = LoginForm


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
