"""The media manager in the admin, to look at: changes go through operations, so that everyone hears of them."""

from django.contrib import admin

from apps.media.models import HistoryEntry, Media, MediaLink
from apps.outbox.admin import ReadOnly


@admin.register(Media)
class MediaAdmin(ReadOnly):
    list_display = ["name", "owner", "category", "status", "size", "link_count", "deleted_at", "purge_at"]
    list_select_related = ["owner"]
    search_fields = ["=id", "=owner__username"]
    show_full_result_count = False
    ordering = ["-id"]


@admin.register(MediaLink)
class MediaLinkAdmin(ReadOnly):
    list_display = ["media_id", "home_id", "role", "position", "created_at"]
    search_fields = ["=media__id", "=home__id"]
    show_full_result_count = False
    ordering = ["-id"]


@admin.register(HistoryEntry)
class HistoryAdmin(ReadOnly):
    list_display = ["action", "media_name", "media_id", "actor_id", "operation_id", "created_at"]
    search_fields = ["=media_id", "=owner_id", "=operation_id"]
    show_full_result_count = False
    ordering = ["-id"]
