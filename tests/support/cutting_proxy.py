"""A TCP proxy that cuts connections, for clients that have to come back."""

import contextlib
import socket
import struct
import threading

_CHUNK_BYTES = 65536
_RESET = struct.pack("ii", 1, 0)


class CuttingProxy:
    """Passes bytes between a port of its own and another one on this machine, until it is told to cut."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
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
            server = socket.create_connection(("127.0.0.1", self._target_port))
        except OSError:
            _reset(client)
            return
        with self._lock:
            if not self._away:
                self.connections += 1
                self._open |= {client, server}
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if source not in self._open:
                raise ConnectionResetError
            while data := source.recv(_CHUNK_BYTES):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
            return
        for end in (source, target):
            with self._lock:
                self._open.discard(end)
            _reset(end)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # Wakes the thread that reads from it; the reset goes out with the last reference, by close().
        end.shutdown(socket.SHUT_RD)
        end.close()
