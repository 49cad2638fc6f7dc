"""Connections without a network: the real consumer on an outlet that keeps what is written."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from broadcast.consumers import EventConsumer
from broadcast.outlet import Outlet
from broadcast.service import Service
from broadcast.shell import OUTLET
from tests.support.broadcast_fakes import FakeTransport

Frame = dict[str, Any]


class Connection:
    """One client of a service in this process."""

    def __init__(self, service: Service, ticket: str, *, query: str = "", capacity_bytes: int = 2**20) -> None:
        self.transport = FakeTransport()
        self._turn = service.turn
        self.closed_with: int | None = None
        self.accepted: list[Frame] = []
        self._inbox: asyncio.Queue[Frame] = asyncio.Queue()
        self._inbox.put_nowait({"type": "websocket.connect"})
        self.outlet = Outlet(
            self.transport,
            turn=service.turn,
            capacity_bytes=capacity_bytes,
            close_socket=self._close,
            resume_reading=lambda: None,
        )
        scope = {
            "type": "websocket",
            "headers": [(b"authorization", f"Bearer {ticket}".encode())],
            "subprotocols": ["coursehub.v1"],
            "query_string": query.encode(),
            "extensions": {OUTLET: self.outlet},
        }
        self.task = asyncio.create_task(EventConsumer(service)(scope, self._inbox.get, self._accept))

    @property
    def frames(self) -> list[Frame]:
        """What the client received so far, and gets when this turn of the loop is over."""
        self._turn.flush()
        return [json.loads(payload) for payload in _payloads(b"".join(self.transport.written))]

    def events(self, topic_id: str) -> list[int]:
        """The seqs of one topic's events, in the order of arrival."""
        return [f["seq"] for f in self.frames if "data" in f and topic_id in (f.get("courseId"), f.get("userId"))]

    def said(self, type_: str) -> list[Frame]:
        """The frames of one type."""
        return [frame for frame in self.frames if frame["type"] == type_]

    def send(self, type_: str, **members: Any) -> None:
        """Let the client send a frame."""
        self._inbox.put_nowait({"type": "websocket.receive", "text": json.dumps({"type": type_, **members})})

    async def wait_for(self, type_: str, count: int = 1, *, seconds: float = 5) -> Frame:
        """Wait until so many frames of a type came; returns the last."""
        async with asyncio.timeout(seconds):
            while len(self.said(type_)) < count:
                await asyncio.sleep(0.002)
        return self.said(type_)[-1]

    async def leave(self) -> None:
        """Go."""
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self.task

    async def _accept(self, message: Frame) -> None:
        self.accepted.append(message)

    def _close(self, code: int) -> None:
        self.closed_with = code


def _payloads(wire: bytes) -> Iterator[bytes]:
    """Take frames apart, however many were written at once."""
    while wire:
        header = {126: 4, 127: 10}.get(wire[1], 2)
        size = wire[1] if header == 2 else int.from_bytes(wire[2:header])
        yield wire[header : header + size]
        wire = wire[header + size :]
