"""Thousands of WebSocket clients in one process, who keep to the protocol's rules and note what they hear."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.broadcast import wire
from tests.support.websocket_bytes import take_frame

_BACK_OFF_SECONDS = (0.2, 1.0)
_AT_ONCE = 200


class Member(asyncio.Protocol):
    """
    One client of ``topic``. It comes back whenever it is sent away or cut off, and resumes.

    ``position`` is the last seq it heard, without a gap from 1 on; ``breaches`` is where the service broke its word.
    """

    def __init__(self, crowd: "Crowd", ticket: str, topic: str) -> None:
        self._crowd, self._ticket, self.topic = crowd, ticket, topic
        self._transport: asyncio.Transport
        self._data = b""
        self._open = self.listening = False
        self._come_back_seconds: float | None = None
        self.position = 0
        self.retries_after_ms: list[int] = []
        self.codes: list[int] = []
        self.breaches: list[str] = []

    async def come(self) -> None:
        """Connect; if that fails, later."""
        try:
            async with self._crowd.door:
                await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._crowd.port)
        except OSError:
            self._crowd.refused["no connection"] += 1
            self._return()

    def connection_made(self, transport: Any) -> None:
        """Ask for a WebSocket."""
        self._transport, self._data, self._open = transport, b"", False
        transport.write(wire.upgrade("/ws/", {"Authorization": f"Bearer {self._ticket}"}))

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._data += data
        if not self._open and b"\r\n\r\n" in self._data:
            self._begin()
        while self._open and (taken := take_frame(self._data)) is not None:
            opcode, payload, self._data = taken
            self._hear(opcode, payload)

    def connection_lost(self, problem: Exception | None) -> None:
        """Come back, unless all is over."""
        self.listening = False
        self._return()

    def leave(self) -> None:
        """Hang up."""
        self._transport.abort()

    def _begin(self) -> None:
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        status = head.split()[1].decode()
        if status != "101":
            self._crowd.refused[status] += 1
            self._transport.abort()
            return
        self._open = True
        frame = {"type": "subscribe", "topic": self.topic, "since": self.position}
        self._transport.write(wire.client_frames(frame))

    def _hear(self, opcode: int, payload: bytes) -> None:
        if opcode == 8:
            self.codes.append(int.from_bytes(payload[:2], "big"))
            self._transport.write(bytes([0x88, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
        elif opcode == 9:
            self._transport.write(bytes([0x8A, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
        else:
            self._take(json.loads(payload))

    def _take(self, frame: dict[str, Any]) -> None:
        if "data" in frame:
            if frame["seq"] != self.position + 1:
                self.breaches.append(f"{self.position + 1} was next, and {frame['seq']} came")
            self.position = frame["seq"]
        elif frame["type"] == "subscribed" and frame["topic"] == self.topic:
            self.listening = True
        elif frame["type"] == "closing":
            self.retries_after_ms.append(frame["retryAfterMs"])
            self._come_back_seconds = frame["retryAfterMs"] / 1000
        elif frame["type"] in ("resync", "error"):
            self.breaches.append(f"{frame}")

    def _return(self) -> None:
        if not self._crowd.over:
            wait, self._come_back_seconds = self._come_back_seconds, None
            loop = asyncio.get_running_loop()
            loop.call_later(wait or random.uniform(*_BACK_OFF_SECONDS), lambda: self._crowd.start(self.come()))


class Crowd:
    """Clients of a port; ``refused`` counts how attempts to connect ended otherwise, by status."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.over = False
        self.members: list[Member] = []
        self.refused: Counter[str] = Counter()
        self.door = asyncio.Semaphore(_AT_ONCE)
        self._coming: set[asyncio.Task[None]] = set()

    def join(self, tickets: Sequence[tuple[str, str]]) -> None:
        """Let clients come, each with a ticket and a topic."""
        for ticket, topic in tickets:
            self.members.append(Member(self, ticket, topic))
            self.start(self.members[-1].come())

    def start(self, coming: Any) -> None:
        """Have somebody connect."""
        task = asyncio.get_running_loop().create_task(coming)
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    async def until_all(self, are: Callable[[Member], bool], *, seconds: float) -> None:
        """Wait until something is so of every client."""
        async with asyncio.timeout(seconds):
            while not all(map(are, self.members)):
                await asyncio.sleep(0.1)

    def disperse(self) -> None:
        """Have everybody hang up, and stay away."""
        self.over = True
        for member in self.members:
            member.leave()
