"""Clients by hand, who can do what no library lets them: not read, read a byte, vanish, send all at once."""

import contextlib
import ctypes
import json
import socket
import struct
import time
from typing import Any, Self

from benchmarks.broadcast import wire
from tests.support.websocket_bytes import take_frame

Frame = dict[str, Any]

_TINY_BUFFER_BYTES = 4096
_SO_ATTACH_FILTER = 26
_RETURN = 6  # BPF_RET | BPF_K, in a filter that keeps 0 bytes of each packet: it drops them all


class _Connection:
    """A connection with little room for what comes."""

    def __init__(self, port: int) -> None:
        self._data = b""
        self.socket = socket.socket()
        self.socket.settimeout(10)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _TINY_BUFFER_BYTES)
        self.socket.connect(("127.0.0.1", port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def vanish(self) -> None:
        """Be unplugged: from now on every packet that comes is dropped, unread, unacknowledged and unanswered."""
        program = ctypes.create_string_buffer(struct.pack("=HBBI", _RETURN, 0, 0, 0))
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))

    def _read_until(self, mark: bytes, times: int) -> None:
        while self._data.count(mark) < times:
            chunk = self.socket.recv(4096)
            assert chunk, self._data[-500:]
            self._data += chunk


class RudeStream(_Connection):
    """An event stream, with a ticket, of ``topic``."""

    def __init__(self, port: int, ticket: str, topic: str) -> None:
        super().__init__(port)
        self.socket.sendall(wire.get(f"/events?topics={topic}", {"Authorization": f"Bearer {ticket}"}))
        self._read_until(b'"subscribed"', 2)


class RudeClient(_Connection):
    """A WebSocket with a ticket that has subscribed to ``topic`` (if given)."""

    def __init__(self, port: int, ticket: str, topic: str | None = None) -> None:
        super().__init__(port)
        self.socket.sendall(wire.upgrade("/ws/", {"Authorization": f"Bearer {ticket}"}))
        if topic is not None:
            self.send(type="subscribe", topic=topic)
        self._read_until(b'"subscribed"', 1 if topic is None else 2)

    def send(self, **frame: Any) -> None:
        """Send a frame."""
        self.socket.sendall(wire.client_frames(frame))

    def flood(self, count: int, **frame: Any) -> None:
        """Send many frames at once."""
        self.socket.sendall(wire.client_frames(frame) * count)

    def read_until(self, mark: bytes, *, times: int = 1) -> list[Frame]:
        """Read until something has come so often; returns all frames so far."""
        self._read_until(mark, times)
        return self.frames

    def read_to_the_end(self) -> list[Frame]:
        """Read until the server closes, or resets; returns all frames."""
        with contextlib.suppress(ConnectionResetError):
            while chunk := self.socket.recv(4096):
                self._data += chunk
        return self.frames

    def sip(self, count: int) -> None:
        """Read so many bytes, one at a time."""
        for _ in range(count):
            self._data += self.socket.recv(1)
            time.sleep(0.1)

    @property
    def frames(self) -> list[Frame]:
        """The whole frames that have come."""
        data, found = self._data.partition(b"\r\n\r\n")[2], []
        while (frame := take_frame(data)) is not None:
            opcode, payload, data = frame
            if opcode == 1:
                found.append(json.loads(payload))
        return found
