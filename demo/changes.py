"""Changes of a course: how each is asked for by itself, and which event must tell of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from demo.client import Json

ROUTES = {
    "course.update": ("PATCH", "courses/{courseId}/"),
    "course.delete": ("DELETE", "courses/{courseId}/"),
    "course.restore": ("POST", "courses/{courseId}/restore/"),
    "chapter.create": ("POST", "courses/{courseId}/chapters/"),
    "chapter.update": ("PATCH", "chapters/{chapterId}/"),
    "chapter.delete": ("DELETE", "chapters/{chapterId}/"),
    "chapter.reorder": ("POST", "courses/{courseId}/chapters/reorder/"),
    "video.create": ("POST", "chapters/{chapterId}/videos/"),
    "video.update": ("PATCH", "videos/{videoId}/"),
    "video.delete": ("DELETE", "videos/{videoId}/"),
    "video.move": ("POST", "videos/{videoId}/move/"),
    "video.reorder": ("POST", "chapters/{chapterId}/videos/reorder/"),
}
"""A change by itself is one request. In a save it stands among others, with its action and all its ids in the body."""

_TOLD = {
    "course.update": {},
    "course.delete": {"courseId": "courseId"},
    "course.restore": {"courseId": "courseId"},
    "chapter.create": {"tempId": "tempId", "title": "title", "position": "position"},
    "chapter.update": {"chapterId": "chapterId", "title": "newTitle"},
    "chapter.delete": {"chapterId": "chapterId"},
    "chapter.reorder": {"chapterIds": "chapterIds"},
    "video.create": {"tempId": "tempId", "chapterId": "chapterId", "title": "title", "position": "position"},
    "video.update": {"videoId": "videoId", "title": "newTitle"},
    "video.delete": {"videoId": "videoId"},
    "video.move": {"videoId": "videoId", "chapterId": "toChapterId", "position": "position"},
    "video.reorder": {"chapterId": "chapterId", "videoIds": "videoIds"},
}
"""For each action, which of its fields its event repeats, and under which name."""

_REFERENCES = {"chapterId", "toChapterId", "videoId", "chapterIds", "videoIds"}
_MAKES = {"chapter.create": "chapterId", "video.create": "videoId"}


@dataclass(frozen=True, slots=True)
class Expected:
    """An event that must come: on a topic, of a type, its data having at least these fields."""

    topic: str
    type: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, event: Json) -> bool:
        """Whether this is that event."""
        return event["type"] == self.type and all(event["data"].get(key) == value for key, value in self.data.items())


def request_of(change: Json, course_id: str) -> tuple[str, str, Json]:
    """Write a change as a request of its own: method, path, body."""
    method, route = ROUTES[change["action"]]
    in_path = {name for name in ("courseId", "chapterId", "videoId") if f"{{{name}}}" in route}
    body = {name: value for name, value in change.items() if name not in {*in_path, "action"}}
    return method, route.format(**{"courseId": course_id, **change}), body


def event_of(change: Json, topic: str, answer: Json, temp_ids: Mapping[str, str]) -> Expected:
    """
    Say which event must tell of a change.

    ``answer`` is what the 202 said about it, with the id of what it makes; ``temp_ids`` are the ids behind tempIds.
    """
    action: str = change["action"]
    data = {theirs: change[ours] for ours, theirs in _TOLD[action].items() if ours in change}
    data |= {name: _resolved(data[name], temp_ids) for name in data.keys() & _REFERENCES}
    if action in _MAKES:
        data[_MAKES[action]] = answer[_MAKES[action]]
    if action == "course.update":
        data["updates"] = {name: value for name, value in change.items() if name not in ("action", "courseId")}
    return Expected(topic, f"{action.replace('.', '-')}-complete", data)


def end_of(topic: str, *, succeeded: int, failed: int = 0) -> Expected:
    """Say how the one ``batch-operation-complete`` of an operation with many steps must look."""
    status = "succeeded" if not failed else "partial" if succeeded else "failed"
    return Expected(topic, "batch-operation-complete", {"status": status, "succeeded": succeeded, "failed": failed})


def _resolved(value: Any, temp_ids: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [temp_ids.get(item, item) for item in value]
    return temp_ids.get(value, value)
