"""Real sockets, and a transport that does with them what Twisted's does: for what writes to descriptors."""

import contextlib
import socket
from array import array
from pathlib import Path
from typing import Any

from broadcast.outlet import Outlet
from broadcast.sending.native import NativeLoop
from broadcast.sending.turn import Turn

SMALL_BUFFER = 4608
"""About the smallest that the kernel agrees to."""


def native_loop(directory: Path) -> NativeLoop:
    """Compile the loop in C; there is a compiler wherever the tests run."""
    from broadcast.sending import build

    return NativeLoop(build.library(directory))


class Wire:
    """A pair of connected sockets: ``near`` is the server's, ``far`` the client's, which reads when a test says so."""

    def __init__(self, *, small: bool = False) -> None:
        self.near, self.far = socket.socketpair()
        if small:
            self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        self.near.setblocking(False)
        self.far.setblocking(False)

    def fill(self) -> int:
        """Write until nothing more fits; returns how many bytes did."""
        total = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                total += self.near.send(b"-" * 1024)
        return total

    def received(self) -> bytes:
        """Read what is there."""
        chunks = []
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while chunk := self.far.recv(2**16):
                chunks.append(chunk)
        return b"".join(chunks)

    def close(self) -> None:
        """Close both ends."""
        self.near.close()
        self.far.close()


class WireTransport:
    """A transport on a wire, with Twisted's rules about producers; it writes when a test says so."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.buffer = b""
        self.producer: Any = None
        self.streaming = False

    def write(self, data: bytes) -> None:
        """Keep bytes until `flush`."""
        self.buffer += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802
        """Have somebody told; a pull producer is told at once."""
        assert self.producer is None, "there is one already"
        self.producer, self.streaming = producer, streaming
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:  # noqa: N802
        """Have nobody told."""
        self.producer = None

    def flush(self) -> None:
        """Write what fits; when nothing is left, tell a pull producer."""
        with contextlib.suppress(BlockingIOError):
            while self.buffer:
                self.buffer = self.buffer[self.wire.near.send(self.buffer) :]
        if not self.buffer and self.producer is not None and not self.streaming:
            self.producer.resumeProducing()


class WireClient:
    """One client on a wire: its transport and its outlet."""

    def __init__(self, turn: Turn, *, small: bool = False, capacity_bytes: int = 2**20, direct: bool = True) -> None:
        self.wire = Wire(small=small)
        self.transport = WireTransport(self.wire)
        self.closed_with: int | None = None
        self.outlet = Outlet(
            self.transport,
            turn=turn,
            capacity_bytes=capacity_bytes,
            close_socket=self._close,
            resume_reading=lambda: None,
            socket=self.wire.near.fileno() if direct else -1,
        )

    def lose(self) -> None:
        """Lose the connection, as Twisted does it: the socket is closed, and the outlet shut in the same go."""
        self.wire.near.close()
        self.outlet.shut()

    def read_all(self) -> bytes:
        """Read, and let the transport write, until nothing more comes."""
        chunks = [self.wire.received()]
        while True:
            self.transport.flush()
            chunk = self.wire.received()
            if not chunk and not self.transport.buffer:
                return b"".join(chunks)
            chunks.append(chunk)

    def _close(self, code: int) -> None:
        self.closed_with = code


def lines_of(*numbers: int) -> "array[int]":
    """Make an audience's lines."""
    return array("i", numbers)
