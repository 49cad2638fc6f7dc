"""Which of a view's formats an answer has."""

from typing import Any

from django.http import Http404
from rest_framework import exceptions
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request


class FirstOtherwise(DefaultContentNegotiation):
    """Takes what a client accepts or names as ``format``, and where a view has no such format its first: JSON."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Choose a renderer; nothing is refused for its ``Accept``, which RFC 9110 (section 12.5.1) leaves open."""
        try:
            return super().select_renderer(request, renderers, format_suffix)
        except (exceptions.NotAcceptable, Http404):
            return renderers[0], renderers[0].media_type
