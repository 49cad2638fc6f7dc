"""
A small client of CourseHub's outside, used by the demonstration, the benchmarks and the end-to-end tests.

It knows the REST API and the WebSocket protocol as docs/ describe them, and nothing of what is behind them.
"""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

Json = dict[str, Any]

_IDLE_SECONDS = 30
"""A connection that was idle for longer may be closed by the other side at any moment."""


@dataclass(slots=True)
class Answer:
    """An HTTP answer. ``body`` is its JSON; ``seconds`` is how long it took."""

    status: int
    body: Any
    headers: dict[str, str]
    seconds: float

    @property
    def data(self) -> Any:
        """What a successful answer carries."""
        assert self.status < 400, (self.status, self.body)
        return self.body["data"]

    @property
    def operation_id(self) -> str:
        """The operationId of a mutation's answer."""
        assert self.status == 202, (self.status, self.body)
        return str(self.body["operationId"])


class Api:
    """The REST API, for one user, over one kept-alive connection. Not for use by two threads at once."""

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        self.url = url
        self.token = token
        self.user: Json = {}
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port
        self._connection: http.client.HTTPConnection | None = None
        self._used_at = 0.0

    def register(self, username: str, password: str) -> "Api":
        """Register a user and act as them."""
        answer = self.post("auth/register/", {"username": username, "password": password, "email": ""})
        assert answer.status == 201, (answer.status, answer.body)
        self.token, self.user = answer.body["data"]["access"], answer.body["data"]["user"]
        return self

    def sign_in(self, username: str, password: str) -> "Api":
        """Act as an existing user."""
        self.token = self.post("auth/token/", {"username": username, "password": password}).data["access"]
        self.user = self.get("auth/me/").data
        return self

    def again(self) -> "Api":
        """Give the same user a connection of its own, for another thread."""
        other = Api(self.url, self.token)
        other.user = self.user
        return other

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, None, headers)

    def post(self, path: str, body: Json | None = None, **headers: str) -> Answer:
        return self.request("POST", path, {} if body is None else body, headers)

    def patch(self, path: str, body: Json, **headers: str) -> Answer:
        return self.request("PATCH", path, body, headers)

    def delete(self, path: str, body: Json | None = None, **headers: str) -> Answer:
        return self.request("DELETE", path, body, headers)

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """
        Send one request; ``path`` is relative to ``/api/v1/`` unless it begins with a slash.

        ``body`` is encoded as JSON unless it is bytes, or an iterator of them (its Content-Length is then among the
        headers). Header names may be written with underscores. A request is not repeated: what is not known to have
        failed may have worked.
        """
        sent = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        if self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, bytes | Iterator) else json.dumps(body).encode()
        return self._send(method, path if path.startswith("/") else f"/api/v1/{path}", body, sent)

    def _send(self, method: str, path: str, body: bytes | Iterator[bytes] | None, headers: dict[str, str]) -> Answer:
        if time.perf_counter() - self._used_at > _IDLE_SECONDS:
            self.close()
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
        started = time.perf_counter()
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        self._used_at = time.perf_counter()
        seconds = self._used_at - started
        is_json = response.headers.get_content_type() == "application/json"
        return Answer(response.status, json.loads(raw) if is_json and raw else raw, dict(response.headers), seconds)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def wait(self, operation_id: str, seconds: float = 25) -> Json:
        """Wait for an operation's end and return it; returns it unfinished when the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, min(25.0, deadline - time.monotonic()))
            operation: Json = self.get(f"operations/{operation_id}/?wait={left:.3f}").data
            if operation["finishedAt"] or not left:
                return operation

    def done(self, answer: Answer) -> Json:
        """Wait until what a mutation began has ended, and insist that it succeeded."""
        operation = self.wait(answer.operation_id)
        assert operation["status"] == "succeeded", operation
        return operation

    def ticket(self, *course_ids: str) -> Json:
        """Get a ticket for the user's topic and courses."""
        ticket: Json = self.post("realtime/tickets/", {"courseIds": list(course_ids)}).data
        return ticket


@dataclass(slots=True)
class Received:
    """A frame and when it came (``time.perf_counter``)."""

    frame: Json
    at: float


Hear = Callable[[Received], None]


@dataclass(slots=True)
class Log:
    """Everything a listener received, in order; others may wait for more, or be told at once through ``hear``."""

    hear: Hear | None = None
    received: list[Received] = field(default_factory=list)
    grew: threading.Condition = field(default_factory=threading.Condition)

    def add(self, frame: Json) -> None:
        received = Received(frame, time.perf_counter())
        with self.grew:
            self.received.append(received)
            self.grew.notify_all()
        if self.hear:
            self.hear(received)


class Listener:
    """
    A WebSocket client that keeps every frame it gets. It does not reconnect: what connection loss does is visible.

    ``since`` resumes the user's own topic. ``hear`` is called with each frame, in the listener's own thread.
    """

    def __init__(self, url: str, ticket: str, since: int | None = None, hear: Hear | None = None) -> None:
        self.log = Log(hear)
        self.closed = threading.Event()
        self.close_code: int | None = None
        target = url if since is None else f"{url}?since={since}"
        self._open = ExitStack()
        self._socket = self._open.enter_context(
            connect(
                target,
                subprotocols=["coursehub.v1"],  # type: ignore[list-item]
                additional_headers={"Authorization": f"Bearer {ticket}"},
                max_size=None,
                compression=None,
            )
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, api: Api, *course_ids: str, since: int | None = None) -> "Listener":
        """Connect as a user who may hear the courses, and subscribe to them from now on, or from ``since`` on."""
        ticket = api.ticket(*course_ids)
        listener = cls(ticket["url"], ticket["ticket"])
        for course_id in course_ids:
            listener.subscribe(f"course:{course_id}", since)
        return listener

    def subscribe(self, topic: str, since: int | None = None) -> Json:
        """Subscribe and return the ``subscribed`` or ``resync`` frame that answers."""
        before = len(self.log.received)
        self.send({"type": "subscribe", "topic": topic, **({} if since is None else {"since": since})})
        return self.wait_for(lambda f: f["type"] in ("subscribed", "resync") and f.get("topic") == topic, start=before)

    def send(self, frame: Json) -> None:
        self._socket.send(json.dumps(frame))

    def events(self, topic: str | None = None) -> list[Json]:
        """Return the events received so far, all or those of one topic."""
        frames = [received.frame for received in list(self.log.received)]
        return [frame for frame in frames if "data" in frame and topic in (None, topic_of(frame))]

    def wait_for(self, matches: Callable[[Json], bool], seconds: float = 10, start: int = 0) -> Json:
        """Wait for a frame, among those received since ``start`` and those to come."""
        return self.wait_for_received(matches, seconds, start).frame

    def wait_for_received(self, matches: Callable[[Json], bool], seconds: float = 10, start: int = 0) -> Received:
        """Wait for a frame and say when it came."""
        deadline = time.monotonic() + seconds
        with self.log.grew:
            while True:
                for received in self.log.received[start:]:
                    if matches(received.frame):
                        return received
                start = len(self.log.received)
                if not self.log.grew.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    raise TimeoutError(f"No such frame; got {[r.frame for r in self.log.received][-5:]}")

    def wait_for_event(self, type_: str, operation_id: str | None = None, seconds: float = 10) -> Json:
        """Wait for an event of a type, of one operation if that is given."""
        return self.wait_for(
            lambda f: f["type"] == type_ and operation_id in (None, f.get("operationId")) and "data" in f, seconds
        )

    def wait_for_seq(self, topic: str, seq: int, seconds: float = 10) -> None:
        """Wait until the event with this seq has come."""
        self.wait_for(lambda f: f.get("seq") == seq and "data" in f and topic_of(f) == topic, seconds)

    def close(self) -> None:
        self._open.close()
        self._thread.join(5)

    def _read(self) -> None:
        try:
            while True:
                self.log.add(json.loads(self._socket.recv()))
        except ConnectionClosed as closed:
            self.close_code = closed.rcvd.code if closed.rcvd else None
        finally:
            self.closed.set()


def topic_of(event: Json) -> str:
    """Tell an event's topic from its envelope."""
    return f"course:{event['courseId']}" if "courseId" in event else f"user:{event['userId']}"
