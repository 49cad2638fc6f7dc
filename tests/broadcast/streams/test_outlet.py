"""The way out to an event stream: joined, in order, bounded."""

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from broadcast.contracts.frames import CloseCode
from broadcast.sending.turn import Turn
from broadcast.streams.outlet import StreamOutlet
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
        turn=Turn(),
        capacity_bytes=capacity_bytes,
        close_socket=closed.append,
        resume_reading=lambda: None,
        socket=ours.fileno(),
    )
    outlet.on_full = lambda: outlet.close(CloseCode.TOO_SLOW, b"[full]")
    return outlet


def test_messages_that_begin_alike_are_one_write(ends: tuple[socket.socket, socket.socket]):
    outlet = make(ends[0], FakeTransport())
    outlet.put_joined(b"id: ", [b"1,", b"2,", b"3,"])
    outlet.put_joined(b"id: ", [b"4"])
    assert ends[1].recv(100) == b"id: 1,id: 2,id: 3,id: 4"


def test_the_last_message_comes_after_what_was_put_before(ends: tuple[socket.socket, socket.socket]):
    outlet = make(ends[0], transport := FakeTransport())
    outlet.put(b"a")
    outlet.close(CloseCode.EXPIRED, b"b")
    assert ends[1].recv(10) == b"a"
    assert transport.written == [b"b"]


@pytest.mark.parametrize("sizes", [(100_000, 1, 1), (10, 100_000, 1), (10, 10, 100_000)])
def test_a_full_socket_gets_the_rest_in_order_and_newer_progress_in_place_of_older(
    ends: tuple[socket.socket, socket.socket], sizes: tuple[int, ...]
):
    transport = FakeTransport()
    outlet = make(ends[0], transport)
    endings = [b"%d" % number * size for number, size in enumerate(sizes, 1)]
    outlet.put_joined(b"[", endings)
    outlet.put(b"[old]", "progress")
    outlet.put_joined(b"{", [b"a", b"b"])
    outlet.put(b"[new]", "progress")
    rest = b"".join(transport.written)
    assert 0 < len(rest) < 100_000
    whole = b"".join([b"[" + ending for ending in endings])
    waiting = outlet.waiting_bytes
    sent = b""
    while len(sent) + len(rest) + waiting < len(whole) + len(b"{a{b[new]"):
        sent += ends[1].recv(2**16)
    outlet.resumeProducing()
    assert sent + rest + ends[1].recv(2**16) == whole + b"{a{b[new]"


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


def test_over_its_bound_a_client_is_given_up_at_once(ends: tuple[socket.socket, socket.socket]):
    transport = FakeTransport()
    outlet = make(ends[0], transport, capacity_bytes=1000)
    outlet.put(b"x" * 100_000)
    outlet.put_joined(b"y", [b"y" * 99] * 100)
    assert not outlet.is_open
    assert outlet.waiting_bytes == 0
    assert transport.written[-1] == b"[full]"


def test_nothing_is_written_to_a_socket_that_may_be_another_connections_by_now(
    ends: tuple[socket.socket, socket.socket],
):
    outlet = make(ends[0], FakeTransport())
    outlet.shut()
    other, others_end = socket.socketpair()
    os.dup2(other.fileno(), ends[0].fileno())
    outlet.put(b"late")
    outlet.put_joined(b"la", [b"ter"])
    others_end.setblocking(False)
    with pytest.raises(BlockingIOError):
        others_end.recv(10)
    other.close()
    others_end.close()
