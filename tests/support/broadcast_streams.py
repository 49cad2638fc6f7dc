"""Event streams as a client reads them: the format of the HTML standard, section 9.2.6."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlencode

from tests.support.broadcast_schema import problems

Frame = dict[str, Any]


class Messages:
    """
    Takes lines, and gives what a page's ``onmessage`` would get.

    ``last_id`` and ``retry_ms`` are what a browser remembers for the next connection.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_ms: int | None = None
        self._id = ""
        self._data: list[str] = []

    def begin_again(self) -> None:
        """Forget what had not ended when the connection did."""
        self._id, self._data = self.last_id, []

    def take(self, line: str) -> Frame | None:
        """Take a line without its end; returns what it completes, if anything."""
        if not line:
            self.last_id, data, self._data = self._id, "\n".join(self._data), []
            return json.loads(data) if data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value
        elif name == "retry":
            self.retry_ms = int(value)
        elif name:
            raise AssertionError(f"unexpected {line!r}")
        return None


class StreamClient:
    """One open event stream."""

    def __init__(self, reader: asyncio.StreamReader, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._reader = reader
        self._messages = Messages()

    @property
    def last_id(self) -> str:
        """What the client would send as ``Last-Event-ID``."""
        return self._messages.last_id

    @property
    def retry_ms(self) -> int | None:
        """How long the client would wait before it connects again."""
        return self._messages.retry_ms

    async def receive(self, *, seconds: float = 10) -> Frame:
        """
        Wait for the next frame; it has to be one that the AsyncAPI document knows.

        Raises:
            EOFError: the stream has ended.
        """
        async with asyncio.timeout(seconds):
            while (frame := self._messages.take(await self._line())) is None:
                pass
        assert problems("envelope" if "data" in frame else frame["type"], frame) == []
        return frame

    async def receive_until(self, type_: str, *, seconds: float = 10) -> list[Frame]:
        """Receive frames up to the first of a type, which comes last."""
        frames = [await self.receive(seconds=seconds)]
        while frames[-1]["type"] != type_:
            frames.append(await self.receive(seconds=seconds))
        return frames

    async def receive_begun(self, count: int) -> list[Frame]:
        """Receive ``welcome``, and what says how so many topics began; what comes between must be events."""
        assert (await self.receive())["type"] == "welcome"
        begun: list[Frame] = []
        while len(begun) < count:
            frame = await self.receive()
            if "data" not in frame:
                begun.append(frame)
        return begun

    async def receive_events(self, count: int, *, seconds: float = 10) -> list[Frame]:
        """Receive a number of events with a seq; other frames between them are dropped."""
        events: list[Frame] = []
        while len(events) < count:
            frame = await self.receive(seconds=seconds)
            if "seq" in frame and "data" in frame:
                events.append(frame)
        return events

    async def receive_end(self, *, seconds: float = 10) -> Frame:
        """Receive up to the end; returns the last frame."""
        last: Frame = {}
        try:
            while True:
                last = await self.receive(seconds=seconds)
        except EOFError:
            return last

    async def read_answer(self) -> Frame:
        """Read an answer that is no stream."""
        body: Frame = json.loads(await self._reader.readexactly(int(self.headers["content-length"])))
        assert await self._reader.read() == b""
        return body

    async def _line(self) -> str:
        line = await self._reader.readline()
        if not line:
            raise EOFError
        return line.decode().removesuffix("\n")


@contextlib.asynccontextmanager
async def open_stream(
    port: int, ticket: str | None, /, *topics: str, headers: Mapping[str, str] | None = None, **query: str
) -> AsyncIterator[StreamClient]:
    """Open a stream of topics; the ticket goes in the header."""
    path = f"/events?{urlencode({'topics': ','.join(topics), **query}, safe=':,')}"
    fields = {"Host": "test", **({} if ticket is None else {"Authorization": f"Bearer {ticket}"}), **(headers or {})}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    try:
        writer.write("\r\n".join(lines).encode())
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode().split("\r\n")
        named = (line.partition(": ") for line in head[1:] if line)
        yield StreamClient(reader, int(head[0].split()[1]), {name.lower(): value for name, _, value in named})
    finally:
        writer.close()
