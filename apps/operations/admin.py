"""Operations and steps in the admin."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.core import errors
from apps.operations import services, submit
from apps.operations.models import Operation, Step
from apps.outbox.admin import ReadOnly


class StepInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Step
    fields = readonly_fields = (
        *("key", "action", "lane", "status", "payload", "data", "error"),
        *("created_at", "finished_at"),
    )
    can_delete = False
    extra = 0
    max_num = 0
    show_change_link = True

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Operation)
class OperationAdmin(ReadOnly):
    list_display = ["key", "user", "kind", "status", "expected", "succeeded", "failed", "created_at", "finished_at"]
    list_filter = ["status", "kind"]
    search_fields = ["key", "user__username"]
    list_select_related = ["user"]
    ordering = ["-id"]
    show_full_result_count = False
    inlines = [StepInline]
    actions = ["retry", "cancel"]

    @admin.action(description="Retry the failed steps, for their user", permissions=["act"])
    def retry(self, request: HttpRequest, queryset: "QuerySet[Operation]") -> None:
        for operation in queryset.select_related("user"):
            digest = submit.fingerprint(method="ADMIN", path=str(operation.pk), body={})
            try:
                services.retry(operation, operation.user, submit.Identity(), digest)
            except errors.CourseHubError as error:
                self.message_user(request, f"Operation {operation.key}: {error.message}", level="warning")

    @admin.action(description="Cancel what has not begun", permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: "QuerySet[Operation]") -> None:
        for operation in queryset:
            try:
                services.cancel(operation.pk)
            except errors.CourseHubError as error:
                self.message_user(request, f"Operation {operation.key}: {error.message}", level="warning")


@admin.register(Step)
class StepAdmin(ReadOnly):
    list_display = ["key", "action", "lane", "status", "created_at", "finished_at"]
    list_filter = ["status", "action"]
    search_fields = ["lane", "operation__key"]
    ordering = ["-id"]
    show_full_result_count = False
