"""
A whole CourseHub for end-to-end tests: real processes, users who sign up over REST, courses made over REST.

Nothing here looks inside: what a test knows it knows from an answer or an event. (`Site.ask_database` is there for what
only the database can tell, such as its count of deadlocks.)
"""

import itertools
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from coursehub.stack.stack import Stack
from demo.client import Answer, Api, Json, Listener, topic_of
from tests.support import replay

PASSWORD = "correct horse battery staple"


_RUN_STEPS = ("worker", "relay")


class Site:
    """A running stack, and what tests do with it again and again."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._numbers = itertools.count(1)

    def anonymous(self) -> Api:
        """Someone who is not signed in."""
        return Api(self.stack.api_url)

    def new_user(self, name: str = "user") -> Api:
        """Someone new, signed in."""
        return self.anonymous().register(f"{name}-{next(self._numbers)}-{secrets.token_hex(3)}", PASSWORD)

    def new_course(self, cast: "Cast", *, chapters: int = 2, videos: int = 2) -> "Course":
        """A course of the cast's owner, with its editor and viewer as members, and with content."""
        course_id = cast.owner.done(cast.owner.post("courses/", {"title": "Botany"}))["steps"][0]["data"]["courseId"]
        course = Course(course_id)
        for member, role in ((cast.editor, "editor"), (cast.viewer, "viewer")):
            course.give_access(cast.owner, member, role)
        if chapters:
            answer = cast.owner.post(f"courses/{course_id}/save/", {"changes": _content(chapters, videos)})
            cast.owner.done(answer)
            course.read(cast.owner)
        return course

    @contextmanager
    def paused(self, *names: str) -> Iterator[None]:
        """Hold processes still, by default all that run steps: what is asked for meanwhile is queued up."""
        for name in names or _RUN_STEPS:
            self.stack.kill(name, signal.SIGSTOP)
        try:
            yield
        finally:
            for name in names or _RUN_STEPS:
                self.stack.kill(name, signal.SIGCONT)

    def ask_database(self, sql: str, *values: object) -> list[Any]:
        """Ask the database itself."""
        with psycopg.connect(self.stack.env["DATABASE_URL"], autocommit=True) as connection:
            return connection.execute(sql, values).fetchall()


@dataclass(slots=True)
class Cast:
    """Who plays in the tests."""

    owner: Api
    editor: Api
    viewer: Api
    stranger: Api

    @classmethod
    def of(cls, site: Site) -> "Cast":
        """Sign everyone up."""
        return cls(*(site.new_user(name) for name in ("owner", "editor", "viewer", "stranger")))

    def again(self) -> "Cast":
        """The same people, on connections of their own."""
        return Cast(self.owner.again(), self.editor.again(), self.viewer.again(), self.stranger.again())

    def close(self) -> None:
        """Close their connections."""
        for user in (*self.members, self.stranger):
            user.close()

    @property
    def members(self) -> list[Api]:
        """Those who have access to a new course."""
        return [self.owner, self.editor, self.viewer]


@dataclass(slots=True)
class Course:
    """A course's ids, as they were when last read: ``videos`` by chapter."""

    id: str
    chapters: list[str] = field(default_factory=list)
    videos: list[list[str]] = field(default_factory=list)

    @property
    def topic(self) -> str:
        return f"course:{self.id}"

    @property
    def path(self) -> str:
        return f"courses/{self.id}/"

    def read(self, reader: Api) -> Json:
        """Read the outline, and note the ids in it."""
        outline: Json = reader.get(f"{self.path}outline/").data
        self.chapters = [chapter["id"] for chapter in outline["chapters"]]
        self.videos = [[video["id"] for video in chapter["videos"]] for chapter in outline["chapters"]]
        return outline

    def give_access(self, owner: Api, user: Api, role: str) -> None:
        """Make someone a member, or change their role."""
        owner.done(owner.post(f"{self.path}members/", {"username": user.user["username"], "role": role}))

    def save(self, user: Api, *changes: Json, **more: Any) -> Answer:
        """Post a consolidated save."""
        return user.post(f"{self.path}save/", {"changes": list(changes), **more})


def _content(chapters: int, videos: int) -> list[Json]:
    changes: list[Json] = []
    for c in range(chapters):
        changes.append({"action": "chapter.create", "tempId": f"c{c}", "title": f"Chapter {c}"})
        for v in range(videos):
            names = {"title": f"Video {c}.{v}", "filename": f"{c}-{v}.mp4"}
            changes.append({"action": "video.create", "chapterId": f"c{c}", **names})
    return changes


@contextmanager
def running(**how: Any) -> Iterator[Site]:
    """Run a stack of one's own; ``how`` as for `Stack`, ``given`` on top of what suits tests."""
    given = {"THROTTLE_USER": "0", "THROTTLE_LOGINS": "0", **how.pop("given", {})}
    with Stack(fast=True, login=False, given=given, **how) as stack:
        yield Site(stack)


def eventually(check: Callable[[], Any], seconds: float = 10) -> Any:
    """
    Ask again and again until the answer is true, and return it.

    For what nothing announces, such as a process' own readiness; what has an event is waited for by that event.
    """
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {check}")
        time.sleep(0.02)
    return answer


Listen = Callable[..., Listener]
"""Connects someone to the WebSocket and subscribes to courses; closed when the test ends."""


class Audience:
    """
    Everyone's tabs on one course, and a stranger's.

    Made before something happens; afterwards `hears` insists that all of them saw the same, and that it was the truth.
    """

    def __init__(self, course: Course, cast: Cast, listen: Listen) -> None:
        self.course, self.cast = course, cast
        self.before = course.read(cast.owner)
        people = [cast.owner, cast.owner, cast.editor, cast.viewer]
        self.tabs = [listen(person, course, since=self.before["seq"]) for person in people]
        self.outsider = listen(cast.stranger)

    def hears(self, *operations: Json) -> list[Json]:
        """
        Wait until every tab has the last event of these operations, and return all events since the beginning.

        Each tab has the same ones, without a gap or a double; applied to the outline as it was they give the outline
        as it is; the stranger has none of them.
        """
        last = max(operation["seq"] for operation in operations if operation["topic"] == self.course.topic)
        for tab in self.tabs:
            tab.wait_for_seq(self.course.topic, last)
        heard = [tab.events(self.course.topic) for tab in self.tabs]
        assert all(events == heard[0] for events in heard), heard
        assert [event["seq"] for event in heard[0]] == list(range(self.before["seq"] + 1, last + 1))
        self._is_the_truth(heard[0])
        assert self.outsider.events(self.course.topic) == []
        return heard[0]

    def _is_the_truth(self, events: list[Json]) -> None:
        now = self.course.read(self.cast.owner)
        assert replay.replay(self.before, events, reader=self.cast.owner.user["id"]) == now


def said(event: Json) -> tuple[str, Json]:
    """What an event says: its type and data."""
    return event["type"], event["data"]


def all_events(reader: Api, topic: str) -> list[Json]:
    """All durable events of a topic, as the API gives them to those who catch up; without a gap."""
    events: list[Json] = []
    after: int | None = 0
    while after is not None:
        page = reader.get(f"topics/{topic}/events/?after={after}&limit=200").body
        events, after = events + page["data"], page["next"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    return events


def refusal(answer: Answer) -> tuple[int, str]:
    """An answer's status and error code, once its form is that of every error."""
    assert answer.body.keys() == {"success", "error"} and answer.body["success"] is False, answer
    error = answer.body["error"]
    assert isinstance(error["code"], str) and error["message"].strip(), answer
    return answer.status, error["code"]


def wait_for_own(tab: Listener, person: Api, type_: str, operation_id: str) -> Json:
    """Wait for an event on someone's own topic."""
    own = f"user:{person.user['id']}"
    return tab.wait_for(
        lambda f: (f["type"], f.get("operationId")) == (type_, operation_id) and "data" in f and topic_of(f) == own
    )
