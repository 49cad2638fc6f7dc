"""A broadcast service over real HTTP that takes events as the contract says, or misbehaves as a test wants it to."""

import http.server
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from broadcast.contracts import bridge, topics

Json = dict[str, Any]
Answer = tuple[int, bytes]
Misbehaviour = Callable[[list[Json]], Answer | None]
"""Looks at the events of a POST and answers it, or leaves that to the rules (None)."""


class FakeBridge:
    """
    Takes events over HTTP by the rules of the real one, and keeps them.

    ``accepted`` are each topic's events in the order in which they were taken; ``duplicates`` counts what came again;
    ``posts`` all POSTs. ``misbehave`` comes first, while it is set.
    """

    def __init__(self, secret: str) -> None:
        self.accepted: dict[str, list[Json]] = defaultdict(list)
        self.last_seqs: dict[str, int] = {}
        self.duplicates = self.posts = 0
        self.misbehave: Misbehaviour | None = None
        self.changed = threading.Condition()
        self._secret = secret
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, topic: str, seq: int, seconds: float = 20) -> list[Json]:
        """Wait until a topic's events are taken up to a seq, and return them all."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.last_seqs.get(topic, 0) >= seq, seconds):
                raise TimeoutError(f"{topic} stays at {self.last_seqs.get(topic)} after {self.posts} posts")
            return list(self.accepted[topic])

    def wait_for_posts(self, count: int, seconds: float = 20) -> None:
        """Wait until so many more POSTs have come."""
        with self.changed:
            wanted = self.posts + count
            assert self.changed.wait_for(lambda: self.posts >= wanted, seconds), self.posts

    def forget(self, topic: str, after: int) -> None:
        """Lose a topic's events after a seq, as a history does that was restored from a backup."""
        with self.changed:
            self.last_seqs[topic] = after
            self.accepted[topic] = [event for event in self.accepted[topic] if event["seq"] <= after]

    def answer(self, body: bytes, timestamp: str, signature: str) -> Answer:
        """Answer one POST."""
        bridge.verify(body, secret=self._secret, timestamp=timestamp, signature=signature)
        events = json.loads(body)["events"]
        with self.changed:
            self.posts += 1
            self.changed.notify_all()
        refusal = self.misbehave(events) if self.misbehave else None
        return refusal or self.take(events)

    def take(self, events: list[Json]) -> Answer:
        """Take events by the rules."""
        with self.changed:
            durable = [event for event in events if "seq" in event]
            if gaps := self._gaps(durable):
                return _json(409, {"gaps": [{"topic": topic, "expected": seq} for topic, seq in gaps.items()]})
            new = [event for event in durable if self._is_new(event)]
            self.duplicates += len(durable) - len(new)
            self.changed.notify_all()
        return _json(202, {"accepted": len(new), "duplicates": len(durable) - len(new)})

    def _gaps(self, events: list[Json]) -> dict[str, int]:
        reached, gaps = dict(self.last_seqs), {}
        for event in events:
            last = reached.get(event["topic"], event["seq"] - 1)
            if event["seq"] > last + 1:
                gaps.setdefault(event["topic"], last + 1)
            reached[event["topic"]] = max(last, event["seq"])
        return gaps

    def _is_new(self, event: Json) -> bool:
        topic, seq = event["topic"], event["seq"]
        assert topics.of_envelope(event) == topic, event
        if seq <= self.last_seqs.get(topic, seq - 1):
            return False
        self.last_seqs[topic] = seq
        self.accepted[topic].append({name: value for name, value in event.items() if name != "topic"})
        return True


def answering(status: int, body: Json | None = None) -> Misbehaviour:
    """Answer everything like this."""
    return lambda _: _json(status, body or {})


def refusing(is_bad: Callable[[Json], bool], *, status: int = 400, with_index: bool = True) -> Misbehaviour:
    """Refuse every batch with a certain event in it, saying which event it is, or not."""

    def refuse(events: list[Json]) -> Answer | None:
        for index, event in enumerate(events):
            if is_bad(event):
                named = {"index": index} if with_index else {}
                return _json(status, {"success": False, "error": {"code": "bad", "message": "not this one", **named}})
        return None

    return refuse


def after_taking(fake: FakeBridge, seconds: float) -> Misbehaviour:
    """Take everything by the rules, but answer late."""

    def take_and_wait(events: list[Json]) -> Answer:
        answer = fake.take(events)
        time.sleep(seconds)
        return answer

    return take_and_wait


def _json(status: int, body: Json) -> Answer:
    return status, json.dumps(body).encode()


def _handler_for(fake: FakeBridge) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            timestamp, signature = (self.headers[name] for name in (bridge.TIMESTAMP_HEADER, bridge.SIGNATURE_HEADER))
            self._send(*fake.answer(body, timestamp, signature))

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
