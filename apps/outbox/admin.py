"""Topics and events in the admin."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.outbox import selectors, services
from apps.outbox.models import DeliveryCursor, OutboxEvent, Topic


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """What the services keep right is not to be edited by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Let those use actions on a row who might change it, were it to be edited by hand: looking is not enough."""
        return super().has_change_permission(request)


class BehindFilter(admin.SimpleListFilter):
    title = "delivery"
    parameter_name = "behind"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("yes", "behind")]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Topic]") -> "QuerySet[Topic]":
        return queryset.filter(name__in=selectors.behind()) if self.value() else queryset


@admin.register(Topic)
class TopicAdmin(ReadOnly):
    list_display = ["name", "last_seq", "delivered_seq", "touched_at"]
    list_filter = [BehindFilter]
    search_fields = ["name"]
    ordering = ["-touched_at"]
    actions = ["redeliver"]

    @admin.display(description="delivered seq")
    def delivered_seq(self, topic: Topic) -> int | None:
        cursor = DeliveryCursor.objects.filter(topic=topic.name).first()
        return cursor.delivered_seq if cursor else None

    @admin.action(description="Deliver all kept events again", permissions=["act"])
    def redeliver(self, request: HttpRequest, queryset: "QuerySet[Topic]") -> None:
        services.redeliver([topic.name for topic in queryset])
        self.message_user(request, "They are on their way; clients drop what they have.")


class WithheldFilter(admin.SimpleListFilter):
    title = "delivery"
    parameter_name = "withheld"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("yes", "withheld")]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[OutboxEvent]") -> "QuerySet[OutboxEvent]":
        return queryset.exclude(withheld="") if self.value() else queryset


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnly):
    list_display = ["topic", "seq", "type", "operation_id", "created_at", "withheld"]
    list_filter = [WithheldFilter, "type"]
    search_fields = ["topic", "operation_id"]
    ordering = ["-id"]
    show_full_result_count = False
    actions = ["release"]

    @admin.action(description="Release and deliver again", permissions=["act"])
    def release(self, request: HttpRequest, queryset: "QuerySet[OutboxEvent]") -> None:
        for event in queryset:
            services.release(event)
            services.redeliver([event.topic], from_seq=event.seq)
        self.message_user(request, "They are on their way.")
