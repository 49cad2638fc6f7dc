"""A client that does what docs/protocol.md asks of clients: it reconnects, resumes, and refetches when told to."""

import contextlib
import http.client
import threading
import time
from collections.abc import Callable

from websockets.exceptions import WebSocketException

from demo.client import Answer, Api, Json, Listener
from tests.support import replay

_PAUSE_SECONDS = 0.05


class ResumingListener:
    """
    Follows one course through whatever happens to the servers.

    ``outline`` is the outline as the events made it; ``events`` are those applied, each once; ``doubles`` counts those
    that came again, ``resyncs`` how often it had to ask the API for what it missed, ``connections`` how often it
    connected.
    """

    def __init__(self, api: Api, course_id: str) -> None:
        self._api, self._course_id = api.again(), course_id
        self.topic = f"course:{course_id}"
        self.outline: Json = self._api.get(f"courses/{course_id}/outline/").data
        self.began_at: int = self.outline["seq"]
        self.events: dict[int, Json] = {}
        self.doubles = self.resyncs = self.connections = 0
        self.failure: BaseException | None = None
        self._grew, self._over = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait(lambda: self.connections > 0, 20)

    def wait_for_seq(self, seq: int, seconds: float = 30) -> None:
        """Wait until the outline contains the event with this seq."""
        self._wait(lambda: self.outline["seq"] >= seq, seconds)

    def close(self) -> None:
        """Stop following."""
        self._over.set()
        self._thread.join(10)

    def _wait(self, is_so: Callable[[], bool], seconds: float) -> None:
        with self._grew:
            came = self._grew.wait_for(lambda: bool(self.failure) or is_so(), seconds)
        if self.failure:
            raise self.failure
        if not came:
            raise TimeoutError(f"{self.topic} stays at {self.outline['seq']} after {self.connections} connections")

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                with contextlib.suppress(OSError, http.client.HTTPException, WebSocketException, TimeoutError, _Away):
                    self._follow_one_connection()
                self._over.wait(_PAUSE_SECONDS)
        except BaseException as failure:
            with self._grew:
                self.failure = failure
                self._grew.notify_all()

    def _follow_one_connection(self) -> None:
        ticket = self._ask("POST", "realtime/tickets/", {"courseIds": [self._course_id]})["data"]
        listener = Listener(ticket["url"], ticket["ticket"])
        try:
            self._subscribe(listener)
            with self._grew:
                self.connections += 1
                self._grew.notify_all()
            self._take_frames(listener)
        finally:
            listener.close()

    def _subscribe(self, listener: Listener) -> None:
        listener.send({"type": "subscribe", "topic": self.topic, "since": self.outline["seq"]})

    def _take_frames(self, listener: Listener) -> None:
        taken = 0
        while not self._over.is_set():
            with listener.log.grew:
                listener.log.grew.wait_for(lambda at=taken: len(listener.log.received) > at, 0.1)
                frames = [received.frame for received in listener.log.received[taken:]]
            taken += len(frames)
            for frame in frames:
                self._take(frame, listener)
            if not frames and listener.closed.is_set():
                return

    def _take(self, frame: Json, listener: Listener) -> None:
        if frame["type"] == "resync" and frame["topic"] == self.topic:
            self._catch_up()
            self._subscribe(listener)
        elif "data" in frame and frame.get("courseId") == self._course_id:
            self._apply(frame)

    def _catch_up(self) -> None:
        """Read what was missed from the API, so that not one event is."""
        self.resyncs += 1
        after: int | None = self.outline["seq"]
        while after is not None:
            page = self._ask("GET", f"topics/{self.topic}/events/?after={after}", None)
            for event in page["data"]:
                self._apply(event)
            after = page["next"]

    def _apply(self, event: Json) -> None:
        with self._grew:
            if event["seq"] <= self.outline["seq"]:
                self.doubles += 1
                assert self.events.get(event["seq"], event) == event, event
                return
            replay.advance(self.outline, event)
            self.events[event["seq"]] = event
            self._grew.notify_all()

    def _ask(self, method: str, path: str, body: Json | None) -> Json:
        answer = self._api.request(method, path, body)
        if answer.status == 503:
            raise _Away
        assert answer.status == 200, answer
        body: Json = answer.body
        return body


class _Away(Exception):
    """The API said that it cannot answer now."""


def until_taken(send: Callable[[], Answer], seconds: float = 60) -> Json:
    """
    Send a request until it is answered with something else than "not now", as its idempotency allows.

    Raises:
        AssertionError: the answer is not 202.
    """
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = send()
            if answer.status != 503:
                assert answer.status == 202, answer
                body: Json = answer.body
                return body
        if time.monotonic() > deadline:
            raise TimeoutError("not taken in time")
        time.sleep(_PAUSE_SECONDS)
