"""A TCP proxy that cuts connections, leads elsewhere, delays, or swallows answers."""

import contextlib
import socket
import struct
import threading
import time
from pathlib import Path

_CHUNK_BYTES = 65536
_RESET = struct.pack("ii", 1, 0)


class CuttingProxy:
    """
    Passes bytes between a port of its own and another one, or a Unix socket, on this machine, until it is told to cut.

    ``delay_seconds``: how long it holds what it reads, either way. ``swallows_answers``: it throws away what the target
    says.
    """

    def __init__(self, target: int | Path) -> None:
        self.target = target
        self.delay_seconds = 0.0
        self.swallows_answers = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._away = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> int:
        """Reset every connection, as a network that goes away does; returns how many there were."""
        with self._lock:
            cut, self._open = self._open, set()
        for end in cut:
            _reset(end)
        return len(cut) // 2

    def go_away(self) -> None:
        """Cut, and reset whoever comes until `come_back`."""
        self._away = True
        self.cut()

    def come_back(self) -> None:
        """Pass connections again."""
        self._away = False

    def lead_to(self, target: int | Path) -> None:
        """Cut, and pass whoever comes from now on to another server, as an address that moves does."""
        self.target = target
        self.cut()

    def close(self) -> None:
        """End."""
        self.go_away()
        # A thread that waits in accept() is not woken by close() alone.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._pass_on(client)

    def _pass_on(self, client: socket.socket) -> None:
        try:
            server = _connect(self.target)
        except OSError:
            _reset(client)
            return
        with self._lock:
            if not self._away:
                self.connections += 1
                self._open |= {client, server}
        for source, target, answers in ((client, server, False), (server, client, True)):
            threading.Thread(target=self._pump, args=(source, target, answers), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            if source not in self._open:
                raise ConnectionResetError
            while data := source.recv(_CHUNK_BYTES):
                time.sleep(self.delay_seconds)
                if not (answers and self.swallows_answers):
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)
            return
        for end in (source, target):
            with self._lock:
                self._open.discard(end)
            _reset(end)


def _connect(target: int | Path) -> socket.socket:
    if isinstance(target, int):
        return socket.create_connection(("127.0.0.1", target))
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(target))
    except OSError:
        connection.close()
        raise
    return connection


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # Wakes the thread that reads from it; the reset goes out with the last reference, by close().
        end.shutdown(socket.SHUT_RD)
        end.close()
