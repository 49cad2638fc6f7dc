"""Clients without manners, each a thread with a socket by hand: they sip, or flood with frames or connects."""

import contextlib
import select
import socket
import threading
from abc import abstractmethod
from types import TracebackType
from typing import Final

from benchmarks.broadcast import wire
from benchmarks.broadcast.wire import Opening

_AT_ONCE: Final = 500
_PATIENCE_SECONDS: Final = 2
_TINY_BUFFER_BYTES: Final = 4096


class Nuisance(threading.Thread):
    """One client that does the same again and again, as a context manager; ``done`` counts how often."""

    def __init__(self, port: int, opening: Opening) -> None:
        super().__init__(daemon=True)
        self._port, self._opening = port, opening
        self._over = threading.Event()
        self.done = 0

    def __enter__(self) -> "Nuisance":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.is_set():
            # Cut off, refused, or not even let in: it tries again.
            with contextlib.suppress(OSError), self._connect() as connection:
                self._bother(connection)

    @abstractmethod
    def _bother(self, connection: socket.socket) -> None:
        """Do it on a connection whose handshake was sent, until it breaks or all is over."""

    def _connect(self) -> socket.socket:
        connection = socket.socket()
        connection.settimeout(_PATIENCE_SECONDS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _TINY_BUFFER_BYTES)
        try:
            connection.connect(("127.0.0.1", self._port))
            connection.sendall(self._opening.request + self._opening.frames)
        except OSError:
            connection.close()
            raise
        return connection


class Sipper(Nuisance):
    """Reads a byte a second."""

    def _bother(self, connection: socket.socket) -> None:
        while not self._over.wait(1) and connection.recv(1):
            self.done += 1


class Flooder(Nuisance):
    """Sends the same frames as fast as they are taken, and reads what comes in answer."""

    def __init__(self, port: int, opening: Opening, *frames: object) -> None:
        super().__init__(port, opening)
        self._flood = wire.client_frames(*(frames * (_AT_ONCE // len(frames))))

    def _bother(self, connection: socket.socket) -> None:
        while not self._over.is_set():
            connection.sendall(self._flood)
            self.done += _AT_ONCE
            while select.select([connection], [], [], 0)[0]:
                if not connection.recv(1 << 16):
                    return


class Caller(Nuisance):
    """Connects, hears the answer, hangs up, and does it again."""

    def _bother(self, connection: socket.socket) -> None:
        connection.recv(1 << 10)
        self.done += 1
