"""Clients: those that come and go and resume, slow ones, and those that never read."""

import asyncio
import contextlib
import json
import random
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from benchmarks.soak.ledger import Json, Ledger
from benchmarks.soak.world import Owner

_TROUBLE = (OSError, WebSocketException, TimeoutError, EOFError)
_BACK_OFF_SECONDS = 0.5
_TINY_BUFFER_BYTES = 4096


@dataclass(slots=True)
class Way:
    """
    How a client behaves.

    ``stays``: seconds after which it hangs up, or cuts the line, and comes back. ``pause``: after each frame.
    """

    stays: tuple[float, float] = (4, 20)
    pause: float = 0
    tiny: bool = False


@dataclass(slots=True)
class Tally:
    """What happened to all clients together."""

    connected: int = 0
    frames: int = 0
    closed: Counter[str] = field(default_factory=Counter)


class Watcher:
    """One client that keeps to the client's rule: resume, refetch after a ``resync``, and keep account."""

    def __init__(
        self, name: str, owner: Owner, courses: Sequence[str], urls: Callable[[], str], way: Way, tally: Tally
    ) -> None:
        self.owner, self._urls, self._way, self._tally = owner, urls, way, tally
        self._courses = [f"course:{course}" for course in courses]
        self.ledger = Ledger(name, [owner.topic, *self._courses])
        self.until_the_end = False

    async def run(self, over: asyncio.Event) -> None:
        """Connect again and again until it is over."""
        while not over.is_set():
            try:
                await self._once(over)
            except _TROUBLE:
                await asyncio.sleep(_BACK_OFF_SECONDS * (0.5 + random.random()))
            finally:
                self.ledger.disconnected()

    async def _once(self, over: asyncio.Event) -> None:
        url = f"{self._urls()}?since={self.ledger.position(self.owner.topic)}"
        headers = {"Authorization": f"Bearer {await self.owner.ticket()}"}
        options = {"additional_headers": headers, "compression": None, "max_size": None, "close_timeout": 1}
        if self._way.tiny:
            options |= {"sock": _tiny_socket(url), "max_queue": 1}
        async with connect(url, subprotocols=["coursehub.v1"], **options) as connection:
            self._tally.connected += 1
            for topic in self._courses:
                await _send(connection, type="subscribe", topic=topic, since=self.ledger.position(topic))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(*self._way.stays)):
                    await self._listen(connection, over)
            if random.random() < 0.5:
                connection.transport.abort()

    async def _listen(self, connection: ClientConnection, over: asyncio.Event) -> None:
        while not over.is_set():
            try:
                await self._take(json.loads(await asyncio.wait_for(connection.recv(), 1)))
            except TimeoutError:
                continue
            if self._way.pause and not self.until_the_end:
                await asyncio.sleep(self._way.pause)

    async def _take(self, frame: Json) -> None:
        self._tally.frames += 1
        if "data" in frame:
            if "seq" in frame:
                self.ledger.heard(frame)
            return
        match frame["type"]:
            case "subscribed":
                self.ledger.subscribed(frame["topic"])
            case "resync":
                await self._refetch(frame["topic"], frame["seq"])
            case "heartbeat":
                self.ledger.heartbeat(frame["positions"])
            case "closing":
                self._tally.closed[f"{frame['code']} {frame['reason']}"] += 1

    async def _refetch(self, topic: str, seq: int) -> None:
        """Read what was missed over REST, for as long as that takes."""
        while self.ledger.position(topic) < seq:
            try:
                events = await self.owner.events_after(topic, self.ledger.position(topic))
            except _TROUBLE:
                events = []
            for event in events:
                if event["seq"] <= seq:
                    self.ledger.refetch(event)
            if not events:
                await asyncio.sleep(_BACK_OFF_SECONDS)
        self.ledger.resync(topic, seq)


async def never_read(owner: Owner, course: str, urls: Callable[[], str], over: asyncio.Event, tally: Tally) -> None:
    """Subscribe to a course and never read a byte; when the server has had enough, do it again."""
    while not over.is_set():
        with contextlib.suppress(*_TROUBLE):
            await _stare(urls(), await owner.ticket(), course, over, tally)
        await asyncio.sleep(_BACK_OFF_SECONDS)


async def _stare(url: str, ticket: str, course: str, over: asyncio.Event, tally: Tally) -> None:
    connected = _tiny_socket(url)
    options = {"additional_headers": {"Authorization": f"Bearer {ticket}"}, "compression": None, "max_queue": 1}
    # Pings of our own would find out that nobody reads.
    connection = await connect(url, sock=connected, ping_interval=None, close_timeout=0.2, **options)
    await _send(connection, type="subscribe", topic=f"course:{course}")
    connection.transport.pause_reading()
    tally.connected += 1
    while not over.is_set():
        # The server gives up with a reset or an end, which only a write shows to one that does not read.
        await asyncio.sleep(2)
        await connection.pong()
        if connection.transport.is_closing():
            break
    tally.closed["never read, and was cut off" if not over.is_set() else "never read, to the end"] += 1
    connection.transport.abort()


async def _send(connection: ClientConnection, **frame: object) -> None:
    await connection.send(json.dumps(frame))


def _tiny_socket(url: str) -> socket.socket:
    """Connect with a receive buffer so small that what is not read stays with the server."""
    parts, connected = urlsplit(url), socket.socket()
    try:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _TINY_BUFFER_BYTES)
        connected.connect((parts.hostname, parts.port))
    except OSError:
        connected.close()
        raise
    connected.setblocking(False)
    return connected
