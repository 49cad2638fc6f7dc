"""Every path of the API."""

from django.contrib import admin
from django.urls import include, path
from django.views.decorators.http import conditional_page
from drf_spectacular.views import SpectacularSwaggerView

from apps.core import health
from apps.core.openapi import SchemaView

_API = [
    "apps.accounts.urls",
    "apps.outbox.urls",
    "apps.operations.urls",
    "apps.uploads.urls",
    "apps.courses.urls",
    "apps.media.urls",
]

urlpatterns = [
    *(path("api/v1/", include(urls)) for urls in _API),
    path("api/schema/", conditional_page(SchemaView.as_view()), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema")),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics_page),
]

handler400 = "apps.core.rendering.bad_request"
handler403 = "apps.core.rendering.permission_denied"
handler404 = "apps.core.rendering.not_found"
handler500 = "apps.core.rendering.server_error"
