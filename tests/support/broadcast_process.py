"""Real processes of the broadcast service, and real clients of them."""

import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from broadcast.contracts import bridge, tickets, topics
from tests.support.broadcast_schema import problems
from tests.support.broadcast_valkey import free_port

BROADCAST_SECRET = "for the bridge of the tests only"
TICKET_SECRET = "for the tickets of the tests only, long enough"
ROOT = Path(__file__).resolve().parents[2]

Frame = dict[str, Any]


class Broadcast:
    """``python -m broadcast`` on a free port; ``settings`` are more of its environment."""

    def __init__(self, redis_url: str, log_path: Path, **settings: object) -> None:
        self.port = free_port()
        self.log_path = log_path
        self._environ = {
            "PATH": os.environ["PATH"],
            "REDIS_URL": redis_url,
            "BROADCAST_SECRET": BROADCAST_SECRET,
            "TICKET_SECRET": TICKET_SECRET,
            "WEBSOCKET_PORT": str(self.port),
            # So that coverage, where it is measured, sees what runs in here.
            **{name: value for name, value in os.environ.items() if name.startswith("COV")},
        } | {name: str(value) for name, value in settings.items()}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> "Broadcast":
        """Start, and wait until it is ready."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "broadcast"], cwd=ROOT, env=self._environ, stdout=log, stderr=log
            )
        if wait:
            self.wait_for(200, seconds=60)
        return self

    def wait_for(self, status: int, *, path: str = "/readyz", seconds: float = 15) -> None:
        """Wait until a path answers with a status."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get(path)[0] == status:
                    return
            time.sleep(0.02)
        raise TimeoutError(f"{path} did not answer {status}; log:\n{self.log_path.read_text()[-4000:]}")

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Make one HTTP request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, Any]:
        """GET, and read the JSON that comes."""
        status, headers, body = self.request("GET", path)
        return status, json.loads(body) if "json" in headers.get("content-type", "") else body.decode()

    def post(self, *events: Frame) -> tuple[int, Any]:
        """Post events to the bridge."""
        body = json.dumps({"events": events}).encode()
        status, _, answer = self.request(
            "POST", "/broadcast", body, bridge.signed_headers(body, secret=BROADCAST_SECRET)
        )
        return status, json.loads(answer)

    def metric(self, name: str) -> float:
        """Read one metric, summed over its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.partition(" ")[0].partition("{")[0] == name)

    def wait_for_metric(self, name: str, least: float, *, seconds: float = 15) -> None:
        """Wait until a metric has reached a value."""
        deadline = time.monotonic() + seconds
        while self.metric(name) < least:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} did not reach {least}; log:\n{self.log_path.read_text()[-4000:]}")
            time.sleep(0.02)

    def log_lines(self) -> list[dict[str, Any]]:
        """Read what was logged so far."""
        return [json.loads(line) for line in self.log_path.read_text().splitlines() if line.startswith("{")]

    def stop(self) -> None:
        """End it at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @contextlib.asynccontextmanager
    async def client(
        self, ticket: str, *, since: int | None = None, greet: bool = True, **options: Any
    ) -> AsyncIterator["Client"]:
        """Connect with a ticket in the header; ``greet``: take ``welcome`` and what follows it."""
        query = "" if since is None else f"?{urlencode({'since': since})}"
        options.setdefault("additional_headers", {"Authorization": f"Bearer {ticket}"})
        options.setdefault("subprotocols", ["coursehub.v1"])
        async with connect(f"ws://127.0.0.1:{self.port}/ws/{query}", max_size=2**24, **options) as socket:
            client = Client(socket)
            if greet:
                client.welcome, client.begun = await client.receive(), await client.receive()
            yield client


class Client:
    """One WebSocket client: frames as dictionaries."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.welcome: Frame = {}
        self.begun: Frame = {}

    async def send(self, type_: str, **members: Any) -> None:
        """Send a frame."""
        await self.socket.send(json.dumps({"type": type_, **members}))

    async def receive(self, *, seconds: float = 10) -> Frame:
        """Wait for the next frame; it has to be one that the AsyncAPI document knows."""
        async with asyncio.timeout(seconds):
            frame: Frame = json.loads(await self.socket.recv())
        assert problems("envelope" if "data" in frame else frame["type"], frame) == []
        return frame

    async def receive_until(self, type_: str, *, seconds: float = 10) -> list[Frame]:
        """Receive frames up to the first of a type, which comes last."""
        frames = [await self.receive(seconds=seconds)]
        while frames[-1]["type"] != type_:
            frames.append(await self.receive(seconds=seconds))
        return frames

    async def receive_events(self, count: int, *, seconds: float = 10) -> list[Frame]:
        """Receive a number of events with a seq; heartbeats between them are dropped."""
        events: list[Frame] = []
        while len(events) < count:
            frame = await self.receive(seconds=seconds)
            if "seq" in frame and "data" in frame:
                events.append(frame)
            elif frame["type"] != "heartbeat":
                raise AssertionError(f"unexpected {frame}")
        return events

    async def receive_resyncs(self, count: int, *, seconds: float = 5) -> dict[str, int]:
        """Receive a number of ``resync`` frames, and nothing else but heartbeats; returns their seq by topic."""
        resyncs: dict[str, int] = {}
        while len(resyncs) < count:
            frame = await self.receive(seconds=seconds)
            if frame["type"] == "resync":
                resyncs[frame["topic"]] = frame["seq"]
            elif frame["type"] != "heartbeat":
                raise AssertionError(f"unexpected {frame}")
        return resyncs

    async def subscribe(self, topic: str, since: int | None = None, **more: Any) -> Frame:
        """Subscribe, and return what answers."""
        await self.send("subscribe", topic=topic, **({} if since is None else {"since": since}), **more)
        while True:
            frame = await self.receive()
            if frame.get("topic") == topic:
                return frame

    async def closing(self) -> tuple[Frame, int | None]:
        """Receive up to the end; returns the ``closing`` frame and the close code."""
        last: Frame = {}
        try:
            while True:
                last = await self.receive()
        except ConnectionClosed as closed:
            return last, closed.rcvd.code if closed.rcvd else None


def ticket(user_id: str, granted: Mapping[str, int] | Sequence[str] = (), **options: Any) -> str:
    """Sign a ticket for a user's own topic and others."""
    seqs = dict(granted) if isinstance(granted, Mapping) else dict.fromkeys(granted, 0)
    options.setdefault("secret", TICKET_SECRET)
    return tickets.issue(user_id=user_id, seqs={topics.user(user_id): 0, **seqs}, **options)[0]


def event(topic: str, seq: int | None, type_: str = "chapter-update-complete", **data: Any) -> Frame:
    """Make an event as the bridge takes it."""
    kind, id_ = topics.parse(topic)
    made: Frame = {"type": type_, topics.ENVELOPE_KEYS[kind]: id_, "operationId": data.pop("operation_id", "save-1")}
    if seq is not None:
        made["seq"] = seq
    return {**made, "timestamp": 1_760_000_000_000, "data": data, "topic": topic}


def revocation(user_id: str, topic: str | None, before: int) -> Frame:
    """Make a control message as the bridge takes it."""
    return {"type": "access-revoked", "userId": user_id, "topic": topic, "before": before}
