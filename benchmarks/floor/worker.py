"""The floor's task: one UPDATE, one POST."""

import http.client
import json
import os
import time
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from django.db import connection

from broadcast.contracts import bridge

os.environ["DJANGO_SETTINGS_MODULE"] = (
    "benchmarks.floor.settings"  # whatever the environment says: we are not CourseHub
)

app = Celery("floor")
app.config_from_object("django.conf:settings", namespace="CELERY")
_address = urlsplit(os.environ.get("BROADCAST_URL", "http://127.0.0.1:8080"))
_bridge = http.client.HTTPConnection(_address.hostname or "127.0.0.1", _address.port)


@app.task(name="floor.save")
def save(topic: str, operation_id: str, changes: list[dict[str, Any]]) -> None:
    """Write the titles, and tell of them; a list of changes ends with an event of its own, as a save does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE floor_item SET title = row.title, updated_at = now()"
            " FROM unnest(%s::uuid[], %s::text[]) AS row(id, title) WHERE floor_item.id = row.id",
            [[change["id"] for change in changes], [change["title"] for change in changes]],
        )
    told = [{"chapterId": change["id"], "newTitle": change["title"], "updates": {}} for change in changes]
    events = [_event("floor-update", topic, operation_id, data) for data in told]
    events += [_event("floor-end", topic, operation_id, {})] if len(changes) > 1 else []
    for start in range(0, len(events), bridge.MAX_EVENTS):
        _post(events[start : start + bridge.MAX_EVENTS])


def _event(type_: str, topic: str, operation_id: str, data: dict[str, Any]) -> dict[str, Any]:
    # Without a seq the broadcast service keeps nothing and orders nothing.
    named = {"type": type_, "topic": topic, "courseId": topic.partition(":")[2], "operationId": operation_id}
    return {**named, "timestamp": int(time.time() * 1000), "data": data}


def _post(events: list[dict[str, Any]]) -> None:
    body = json.dumps({"events": events}, separators=(",", ":")).encode()
    headers = bridge.signed_headers(body, secret=os.environ["BROADCAST_SECRET"])
    _bridge.request("POST", bridge.PATH, body, {"Content-Type": "application/json", **headers})
    response = _bridge.getresponse()
    response.read()
    if response.status != 202:
        raise RuntimeError(f"The bridge answered {response.status}.")
