"""The REST API in this process, and short ways to what tests begin with."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Permission
from django.test import Client

from apps.accounts import tokens
from apps.accounts.models import User
from apps.outbox.models import OutboxEvent


@dataclass(frozen=True)
class Answer:
    """An answer's status, headers and JSON."""

    status: int
    headers: Any
    body: Any

    @property
    def data(self) -> Any:
        assert self.status < 400, (self.status, self.body)
        return self.body["data"]

    @property
    def error(self) -> Any:
        assert self.status >= 400, (self.status, self.body)
        assert self.body["success"] is False
        return self.body["error"]


class ApiClient:
    """A user's requests; ``user`` None: nobody's. ``path`` is below ``/api/v1/`` unless it begins with a slash."""

    def __init__(self, user: User | None) -> None:
        self.user = user
        self._client = Client(raise_request_exception=False)
        self._headers = {"Authorization": f"Bearer {tokens.issue(user)['access']}"} if user else {}

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json", **self._headers, **_dashed(headers)}
        content_type = sent.pop("content-type")
        url = path if path.startswith("/") else f"/api/v1/{path}"
        response = self._client.generic(method, url, raw, content_type, headers=sent)
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        return Answer(response.status_code, response.headers, response.json() if is_json else response.content)

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.request("POST", path, {} if body is None else body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> Answer:
        return self.request("PATCH", path, body, **headers)

    def delete(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.request("DELETE", path, body, **headers)

    def operation(self, answer: Answer) -> Any:
        """Read the operation that a mutation's answer names."""
        assert answer.status == 202, (answer.status, answer.body)
        return self.get(f"operations/{answer.body['operationId']}/").data

    def course(self, title: str = "Course") -> str:
        """Create a course; returns its id."""
        return str(self.post("courses/", {"title": title}).data["courseId"])

    def chapter(self, course_id: str, title: str = "Chapter") -> str:
        """Create a chapter; returns its id."""
        return str(self.post(f"courses/{course_id}/chapters/", {"title": title}).data["chapterId"])

    def video(self, chapter_id: str, title: str = "Video") -> str:
        """Create a video; returns its id."""
        return str(self.post(f"chapters/{chapter_id}/videos/", {"title": title}).data["videoId"])

    def outline(self, course_id: str) -> Any:
        return self.get(f"courses/{course_id}/outline/").data


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-").lower(): value for name, value in headers.items()}


def a_user(name: str) -> User:
    """Make a user; no password, since tests bring tokens."""
    return User.objects.create(username=name)


def clerks_browser(*may: str) -> Client:
    """Give the admin as it is for someone who may do just this: ``view_topic``, …; nothing: only come in."""
    clerk = User.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=may))
    browser = Client()
    browser.force_login(clerk)
    return browser


def events_of(topic: str | UUID) -> list[dict[str, Any]]:
    """Return the events of a topic (or of a course, by its id) in order, as clients get them."""
    name = topic if ":" in str(topic) else f"course:{topic}"
    return [
        json.loads(body)
        for body in OutboxEvent.objects.filter(topic=name).order_by("seq").values_list("body", flat=True)
    ]
