"""Event streams as a client reads them: the format of the HTML standard, section 9.2.6."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from broadcast.contracts.streams import read_positions
from broadcast.service import Service
from broadcast.shell import OUTLET
from broadcast.streams.outlet import StreamOutlet
from broadcast.streams.stream import EventStream
from tests.support.broadcast_fakes import FakeTransport
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
        self._unread = b""

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
        """Receive ``welcome``, and what says how so many topics began; between them may be events and heartbeats."""
        assert (await self.receive())["type"] == "welcome"
        begun: list[Frame] = []
        while len(begun) < count:
            frame = await self.receive()
            if "data" not in frame and frame["type"] != "heartbeat":
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
        while b"\n" not in self._unread:
            data = await self._read_chunk() if "transfer-encoding" in self.headers else await self._reader.read(2**16)
            if not data:
                raise EOFError
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    async def _read_chunk(self) -> bytes:
        # A proxy sends what has no length in chunks (RFC 9112, section 7.1).
        size = int(await self._reader.readline(), 16)
        data = await self._reader.readexactly(size)
        await self._reader.readexactly(2)
        return data


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


class StreamConnection:
    """One event stream of a service in this process: the real application on an outlet that keeps what is written."""

    def __init__(self, service: Service, ticket: str, *topics: str, capacity_bytes: int = 2**20, **query: str) -> None:
        self.transport = FakeTransport()
        self.messages = Messages()
        self.status = 0
        self.answer = b""
        self.closed_with: int | None = None
        self._inbox: asyncio.Queue[Frame] = asyncio.Queue()
        self.outlet = StreamOutlet(
            self.transport,
            turn=service.turn,
            capacity_bytes=capacity_bytes,
            close_socket=self._close,
            resume_reading=lambda: None,
        )
        scope = {
            "type": "http",
            "headers": [(b"authorization", f"Bearer {ticket}".encode())],
            "query_string": urlencode({"topics": ",".join(topics), **query}).encode(),
            "extensions": {OUTLET: self.outlet},
        }
        self._stream = EventStream(service)
        self.withdraw = self._stream.withdraw
        self.task = asyncio.create_task(self._stream(scope, self._inbox.get, self._take_reply))

    @property
    def frames(self) -> list[Frame]:
        """What the client received so far."""
        return [frame for frame, _ in self._received()]

    @property
    def ids(self) -> list[dict[str, int]]:
        """Where the client stood with each of these frames."""
        return [read_positions(id_) for _, id_ in self._received()]

    def _received(self) -> list[tuple[Frame, str]]:
        self.outlet.settle()
        messages = Messages()
        lines = b"".join(self.transport.written).decode().split("\n")
        return [(frame, messages.last_id) for line in lines if (frame := messages.take(line)) is not None]

    def seqs(self, topic: str) -> list[int]:
        """The seqs of one topic's events, in the order of arrival."""
        id_ = topic.partition(":")[2]
        return [f["seq"] for f in self.frames if "data" in f and id_ in (f.get("courseId"), f.get("userId"))]

    def said(self, type_: str) -> list[Frame]:
        """The frames of one type."""
        return [frame for frame in self.frames if frame["type"] == type_]

    async def wait_for(self, is_so: Callable[[], Any], *, seconds: float = 20) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(seconds):
            while not is_so():
                await asyncio.sleep(0.002)

    async def leave(self) -> None:
        """Go."""
        self.outlet.shut()
        self._inbox.put_nowait({"type": "http.disconnect"})
        await self.task

    async def _take_reply(self, message: Frame) -> None:
        self.status = message.get("status", self.status)
        self.answer += message.get("body", b"")

    def _close(self, code: int) -> None:
        self.closed_with = code
