"""How a WebSocket takes frames: so many at a time, and no more than the application has read."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.broadcast import wire
from broadcast.contracts.frames import CloseCode
from broadcast.limits import Pace
from broadcast.protocols import SocketFactory, SocketProtocol

PING = wire.client_frames({"type": "ping"})


class Transport:
    """What the protocol uses of a transport while frames come in."""

    def __init__(self) -> None:
        self.reads = True
        self.written: list[bytes] = []

    def pauseProducing(self) -> None:  # noqa: N802
        self.reads = False

    def resumeProducing(self) -> None:  # noqa: N802
        self.reads = True

    def write(self, data: bytes) -> None:
        self.written.append(data)


@pytest.fixture
async def socket() -> SocketProtocol:
    """An open WebSocket whose application reads when a test does."""
    server: Any = SimpleNamespace(ping_interval=20, ping_timeout=30, frame_pace=Pace(1e6, 1_000_000))
    factory = SocketFactory(server)
    factory.set_options()
    made: SocketProtocol = factory.protocol()
    made.server, made.transport, made.state = server, Transport(), made.STATE_OPEN
    made.application_queue = asyncio.Queue()
    return made


async def take(socket: SocketProtocol, count: int) -> int:
    """Read like the application; returns in how many turns of the loop that was done."""
    turns = 0
    while count:
        for _ in range(min(count, socket.application_queue.qsize())):
            socket.application_queue.get_nowait()
            socket._resume_reading()
            count -= 1
        await asyncio.sleep(0)
        turns += 1
    return turns


async def test_of_many_frames_at_once_a_few_are_taken_in_each_turn(socket: SocketProtocol):
    socket.dataReceived(PING * 1000)
    assert 0 < socket.application_queue.qsize() < 64
    assert not socket.transport.reads
    assert await take(socket, 1000) > 10
    assert socket.transport.reads


async def test_pings_come_a_few_in_each_turn_as_well(socket: SocketProtocol):
    socket.dataReceived((b"\x89\x80" + bytes(4)) * 1000)
    assert len(socket.transport.written) < 64
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(socket.transport.written) == 1000


async def test_what_the_application_has_not_read_stays_within_bounds(socket: SocketProtocol):
    socket.dataReceived(PING * 1000)
    for _ in range(100):
        await asyncio.sleep(0)
    assert socket.application_queue.qsize() == 64
    assert not socket.transport.reads


async def test_nothing_more_is_read_from_who_sends_too_much(socket: SocketProtocol):
    socket.dataReceived(PING * 100)
    socket.serverClose(int(CloseCode.TOO_FAST))
    read = socket.application_queue.qsize()
    for _ in range(20):
        await asyncio.sleep(0)
    assert socket.application_queue.qsize() == read
    assert not socket.transport.reads


async def test_who_is_not_listened_to_is_not_dropped_for_silence(socket: SocketProtocol):
    socket.dataReceived(PING * 1000)
    socket.give_up()
    assert socket.state == socket.STATE_OPEN
