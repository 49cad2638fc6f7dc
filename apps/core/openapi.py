"""The OpenAPI document over HTTP."""

from functools import cache
from typing import Any

from django.http import HttpResponse
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request

from apps.core.documentation import Generator


class SchemaView(SpectacularAPIView):
    """The document as JSON or YAML. It is the same for everybody: of the query string only ``format`` counts."""

    renderer_classes = [OpenApiJsonRenderer, OpenApiJsonRenderer2, OpenApiYamlRenderer, OpenApiYamlRenderer2]

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        """Read it."""
        renderer = request.accepted_renderer
        response = HttpResponse(_written(renderer.format), content_type=f"{renderer.media_type}; charset=utf-8")
        response["Content-Disposition"] = f'inline; filename="CourseHub.{renderer.format}"'
        return response


# Making the document takes half a second, writing YAML another; and anybody may ask for it, as often as they like.
@cache
def _written(form: str) -> str | bytes:
    renderer = OpenApiYamlRenderer() if form == "yaml" else OpenApiJsonRenderer()
    return renderer.render(_document())


@cache
def _document() -> dict[str, Any]:
    return Generator().get_schema(public=True)  # type: ignore[no-any-return, no-untyped-call]
