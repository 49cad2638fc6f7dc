"""Courses in the admin, to look at: changes go through operations, so that everyone hears of them."""

from django.contrib import admin

from apps.courses.models import Course
from apps.outbox.admin import ReadOnly


@admin.register(Course)
class CourseAdmin(ReadOnly):
    list_display = ["title", "owner", "version", "created_at", "deleted_at"]
    list_select_related = ["owner"]
    search_fields = ["title", "owner__username"]
    ordering = ["-id"]
