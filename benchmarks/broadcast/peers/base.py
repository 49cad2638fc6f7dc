"""What all servers have in common: a process on a free port, and how clients and events get in."""

import contextlib
import random
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil

from benchmarks.broadcast import wire
from benchmarks.broadcast.wire import Event, Opening
from coursehub.stack.procfile import PROJECT

_PATIENCE_SECONDS = 30


class PeerFailed(Exception):
    """A server does not start or ended; the message has the end of its log."""


class Peer(ABC):
    """A server under test, as a context manager. ``name`` is what the report calls it."""

    name: str

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="coursehub-peer-")
        self.folder = Path(self._folder.name)

    def __enter__(self) -> "Peer":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"The log of {self.name} ends with: {self.log_end()}")
        self.stop()
        self._folder.cleanup()

    @abstractmethod
    def command(self) -> list[str]:
        """Say how it is started."""

    def environment(self) -> Mapping[str, str] | None:
        """Give its environment; None: ours."""
        return None

    def is_ready(self) -> bool:
        """Tell whether it takes work."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def opening(self, number: int, topics: Sequence[str]) -> Opening:  # noqa: ARG002 - nobody here has users
        """Say how the ``number``-th client connects and hears these topics."""
        return Opening(wire.upgrade(f"/sub/{'/'.join(topics)}"))

    def post(self, events: Sequence[Event]) -> bytes:
        """Make the request that posts events."""
        (event,) = events
        return wire.post(f"/pub/{event.topic}", wire.encode(event.envelope()))

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), env=self.environment(), cwd=PROJECT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise PeerFailed(f"{self.name} does not start: {self.log_end()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Kill it, as a crash would, with its children."""
        if self.process is None or self.process.poll() is not None:
            return
        tree = _tree(self.process.pid)
        for process in tree:
            process.kill()
        self.process.wait()
        psutil.wait_procs(tree, timeout=10)

    def log_end(self) -> str:
        """Give the end of its log."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def cpu_seconds(self) -> float:
        """Give the CPU time that it used so far, its children included."""
        assert self.process
        times = [process.cpu_times() for process in _tree(self.process.pid)]
        return sum(time.user + time.system for time in times)

    def memory_bytes(self) -> int:
        """Give its memory, its children's included; what they share is counted once (PSS)."""
        assert self.process
        return sum(process.memory_full_info().pss for process in _tree(self.process.pid))


def free_port() -> int:
    """Find a port that is free, and below those that clients' ends take: there are tens of thousands of them here."""
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def _tree(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]
