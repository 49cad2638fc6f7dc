"""The floor's one view."""

import json
import uuid

from django.http import HttpRequest, JsonResponse
from django.urls import path

from benchmarks.floor import worker


def save(request: HttpRequest) -> JsonResponse:
    """Take whatever comes, and have it done some time."""
    body = json.loads(request.body)
    operation_id = str(uuid.uuid4())
    worker.save.delay(body["topic"], operation_id, body["changes"])
    return JsonResponse({"success": True, "operationId": operation_id, "immediate": True, "data": {}}, status=202)


urlpatterns = [path("save/", save)]
