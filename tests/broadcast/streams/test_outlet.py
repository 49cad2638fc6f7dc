"""The way out to an event stream: joined, in order, bounded."""

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from broadcast.contracts.frames import CloseCode
from broadcast.sending.turn import Turn
from broadcast.streams.outlet import Gathering, StreamOutlet
from tests.support.broadcast_fakes import FakeTransport


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection; the first does not block, and has little room."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    yield ours, theirs
    ours.close()
    theirs.close()


def make(ours: socket.socket, transport: FakeTransport, *, capacity_bytes: int = 2**20) -> StreamOutlet:
    """Make an outlet that writes to a socket."""
    closed: list[int] = []
    outlet = StreamOutlet(
        transport,
        gathering=Gathering(),
        turn=Turn(),
        capacity_bytes=capacity_bytes,
        close_socket=closed.append,
        resume_reading=lambda: None,
        socket=ours.fileno(),
    )
    outlet.on_full = lambda: outlet.close(CloseCode.TOO_SLOW, b"[full]")
    return outlet


async def test_what_is_put_in_one_turn_goes_out_when_it_is_over(ends: tuple[socket.socket, socket.socket]):
    outlet = make(ends[0], FakeTransport())
    ends[1].setblocking(False)
    outlet.put(b"a")
    outlet.put(b"b")
    with pytest.raises(BlockingIOError):
        ends[1].recv(10)
    await asyncio.sleep(0)
    assert ends[1].recv(10) == b"ab"


def test_a_frame_comes_after_what_was_put_before(ends: tuple[socket.socket, socket.socket]):
    async def run() -> None:
        outlet = make(ends[0], FakeTransport())
        outlet.put(b"a")
        outlet.write(b"b")

    asyncio.run(run())
    assert ends[1].recv(10) == b"ab"


async def test_a_full_socket_gets_the_rest_in_order_and_newer_progress_in_place_of_older(
    ends: tuple[socket.socket, socket.socket],
):
    transport = FakeTransport()
    outlet = make(ends[0], transport)
    outlet.put(b"x" * 100_000)
    outlet.put(b"[1]")
    outlet.put(b"[old]", "progress")
    outlet.flush()
    outlet.put(b"[2]")
    outlet.put(b"[new]", "progress")
    outlet.flush()
    rest = b"".join(transport.written)
    assert 0 < len(rest) < 100_000
    assert outlet.waiting_bytes == len(b"[1][2][new]")
    sent = b""
    while len(sent) < 100_000 - len(rest):
        sent += ends[1].recv(2**16)
    outlet.resumeProducing()
    assert sent + rest + ends[1].recv(2**16) == b"x" * 100_000 + b"[1][2][new]"


async def test_whoever_waits_for_room_goes_on_when_there_is_some(ends: tuple[socket.socket, socket.socket]):
    outlet = make(ends[0], FakeTransport())
    outlet.put(b"x" * 100_000)
    waiting = asyncio.create_task(outlet.drained(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    outlet.resumeProducing()
    assert await waiting is True
    assert await outlet.drained(60) is True


async def test_whoever_waits_for_room_is_told_when_it_takes_too_long(ends: tuple[socket.socket, socket.socket]):
    outlet = make(ends[0], FakeTransport())
    outlet.put(b"x" * 100_000)
    assert await outlet.drained(0.01) is False


async def test_whoever_waits_for_room_goes_on_when_the_connection_is_gone(ends: tuple[socket.socket, socket.socket]):
    outlet = make(ends[0], FakeTransport())
    outlet.put(b"x" * 100_000)
    waiting = asyncio.create_task(outlet.drained(60))
    await asyncio.sleep(0)
    outlet.shut()
    assert await waiting is True
    assert not outlet.is_open


async def test_over_its_bound_a_client_is_given_up_at_once(ends: tuple[socket.socket, socket.socket]):
    transport = FakeTransport()
    outlet = make(ends[0], transport, capacity_bytes=1000)
    outlet.put(b"x" * 100_000)
    for _ in range(100):
        outlet.put(b"y" * 100)
    outlet.flush()
    assert not outlet.is_open
    assert outlet.waiting_bytes == 0
    assert transport.written[-1] == b"[full]"


async def test_a_burst_is_not_kept_until_the_turn_is_over(ends: tuple[socket.socket, socket.socket]):
    outlet = make(ends[0], FakeTransport())
    for _ in range(64):
        outlet.put(b"z")
    assert ends[1].recv(100) == b"z" * 64


async def test_nothing_is_written_to_a_socket_that_may_be_another_connections_by_now(
    ends: tuple[socket.socket, socket.socket],
):
    outlet = make(ends[0], FakeTransport())
    outlet.put(b"late")
    outlet.shut()
    other, others_end = socket.socketpair()
    os.dup2(other.fileno(), ends[0].fileno())
    outlet.put(b"later")
    await asyncio.sleep(0)
    others_end.setblocking(False)
    with pytest.raises(BlockingIOError):
        others_end.recv(10)
    other.close()
    others_end.close()
