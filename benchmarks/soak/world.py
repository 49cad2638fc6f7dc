"""The stack, the people on it with their courses, and those who save all the time."""

import asyncio
import http.client
import random
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from benchmarks.broadcast.peers.ours import UNLIMITED
from coursehub.stack.stack import Stack
from demo.client import Api, Json

PARTS = ("api", "worker", "relay", "broadcast", "broadcast:2")
_SETTINGS = {
    "THROTTLE_USER": "0",
    "THROTTLE_LOGINS": "0",
    "BROADCAST_HEARTBEAT_SECONDS": "5",
    "BROADCAST_PING_SECONDS": "5",
    "BROADCAST_PING_TIMEOUT_SECONDS": "10",
    "BROADCAST_SEND_BUFFER_BYTES": "65536",
    "BROADCAST_DRAIN_SECONDS": "4",
    "BROADCAST_RECONNECT_SPREAD_SECONDS": "2",
}
_TICKET_SECONDS = 60
_TROUBLE = (OSError, http.client.HTTPException)
_PASSWORD = secrets.token_urlsafe(16)


@contextmanager
def running() -> Iterator[Stack]:
    """Run everything with two broadcast processes, which heed slow clients sooner than usual."""
    given = {**UNLIMITED, **_SETTINGS}
    with Stack(names=PARTS, given=given, fast=True, login=False) as stack:
        yield stack


class Owner:
    """A user with courses, whom many clients play. What it asks goes through a few threads of its own."""

    def __init__(self, url: str, name: str, courses: int) -> None:
        api = Api(url).register(f"{name}-{secrets.token_hex(3)}", _PASSWORD)
        self.topic = f"user:{api.user['id']}"
        self._threads = ThreadPoolExecutor(2, thread_name_prefix=name)
        self._api, self._local = api, threading.local()
        self.courses = [_make_course(api) for _ in range(courses)]
        self._granted = [course.id for course in self.courses]
        self._ticket, self._ticket_until = "", 0.0

    def saver(self) -> Api:
        """Give a connection for saving."""
        return self._api.again()

    async def ticket(self) -> str:
        """Give a ticket for all courses, at most a minute old."""
        if time.monotonic() > self._ticket_until:
            answer = await self._ask("POST", "realtime/tickets/", {"courseIds": self._granted})
            self._ticket, self._ticket_until = answer["data"]["ticket"], time.monotonic() + _TICKET_SECONDS
        return self._ticket

    async def events_after(self, topic: str, seq: int) -> list[Json]:
        """Read what came after a seq, over REST."""
        answer = await self._ask("GET", f"topics/{topic}/events/?after={seq}&limit=200")
        events: list[Json] = answer["data"]
        return events

    def close(self) -> None:
        """End its threads."""
        self._threads.shutdown(cancel_futures=True)

    async def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._request, method, path, body)

    def _request(self, method: str, path: str, body: Json | None) -> Json:
        if not hasattr(self._local, "api"):
            self._local.api = self._api.again()
        answer = self._local.api.request(method, path, body)
        if answer.status != 200:
            raise ConnectionError(f"{path} answered {answer.status}")
        found: Json = answer.body
        return found


class Course:
    """A course and its chapters, by id."""

    def __init__(self, id_: str, chapters: list[str]) -> None:
        self.id, self.chapters = id_, chapters


def _make_course(api: Api) -> Course:
    made = api.done(api.post("courses/", {"title": "Soaked"}))
    id_ = made["steps"][0]["data"]["courseId"]
    changes = [{"action": "chapter.create", "tempId": f"c{n}", "title": f"Chapter {n}"} for n in range(10)]
    api.done(api.post(f"courses/{id_}/save/", {"changes": changes}))
    outline = api.get(f"courses/{id_}/outline/").data
    return Course(id_, [chapter["id"] for chapter in outline["chapters"]])


class Saver(threading.Thread):
    """Saves titles in an owner's courses; ``batch`` of them in one request, every ``pause`` seconds or so."""

    def __init__(self, api: Api, courses: list[Course], *, batch: int, pause: float, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self._api, self._courses, self._batch, self._pause, self._over = api, courses, batch, pause, over
        self.taken = self.refused = self.unanswered = 0

    def run(self) -> None:
        while not self._over.wait(self._pause * random.uniform(0.5, 1.5)):
            try:
                status = self._save().status
            except _TROUBLE:
                self.unanswered += 1
                continue
            self.taken += status == 202
            self.refused += status != 202
        self._api.close()

    def _save(self) -> Any:
        course = random.choice(self._courses)
        if self._batch == 1:
            return self._api.patch(f"chapters/{random.choice(course.chapters)}/", {"title": _title()})
        changes = [
            {"action": "chapter.update", "chapterId": random.choice(course.chapters), "title": _title()}
            for _ in range(self._batch)
        ]
        return self._api.post(f"courses/{course.id}/save/", {"changes": changes})


def _title() -> str:
    return f"Soaked {secrets.token_hex(8)}"
