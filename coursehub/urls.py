"""Every path of the API."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from apps.core import health

_API = [
    "apps.accounts.urls",
    "apps.outbox.urls",
    "apps.operations.urls",
    "apps.uploads.urls",
    "apps.courses.urls",
    "apps.media.urls",
]

_JSON_OR_YAML = [OpenApiJsonRenderer, OpenApiJsonRenderer2, OpenApiYamlRenderer, OpenApiYamlRenderer2]

urlpatterns = [
    *(path("api/v1/", include(urls)) for urls in _API),
    path("api/schema/", SpectacularAPIView.as_view(renderer_classes=_JSON_OR_YAML), name="schema"),
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
