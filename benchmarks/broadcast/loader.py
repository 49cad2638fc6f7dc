"""The load generator, driven from here: clients that count what they hear, and posts of events."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.broadcast import tools, wire
from benchmarks.broadcast.wire import Opening, Post


class LoadFailed(Exception):
    """The load generator ended, or clients could not connect; the message says how."""


@dataclass(frozen=True, slots=True)
class Opened:
    """
    Clients that connected.

    ``seconds``: until the last was ready. ``lost``, ``doubled``: of what was replayed to them.
    """

    live: int
    failed: int
    dropped: int
    pending: int
    status: int
    seconds: float
    replayed: int
    lost: int
    doubled: int
    p50_us: float
    p99_us: float

    def insist(self) -> "Opened":
        """
        Make sure that all are connected.

        Raises:
            LoadFailed: some are not.
        """
        if self.failed or self.dropped or self.pending:
            raise LoadFailed(f"not all clients could connect: {self}")
        return self


@dataclass(frozen=True, slots=True)
class Posted:
    """
    What was posted, and what became of it.

    ``events`` and ``requests`` were sent; ``accepted`` and ``rejected`` count answers, ``status`` is the first
    rejection's. Of ``expected`` deliveries ``deliveries`` came. Times run from sending to each client's receiving.
    """

    requests: int
    events: int
    accepted: int
    rejected: int
    status: int
    expected: int
    deliveries: int
    lost: int
    doubled: int
    dropped: int
    seconds: float
    p50_us: float
    p99_us: float
    max_us: float


class Loader:
    """The load generator's process, as a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="coursehub-load-")
        self._process = subprocess.Popen(
            [tools.native("load")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Loader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()
        self._folder.cleanup()

    def open(self, port: int, openings: Sequence[Opening], *, in_flight: int = 512) -> Opened:
        """Connect clients, so many at a time, and wait until all are ready or have failed."""
        path = self._write("clients", [opening.pack(number) for number, opening in enumerate(openings)])
        return Opened(**self._ask(f"open {path} {port} {in_flight}"))

    def post(
        self,
        port: int,
        posts: Sequence[Post],
        *,
        seconds: float,
        connections: int = 1,
        window: int = 1,
        rate: float = 0,
        again: bool = False,
    ) -> Posted:
        """
        Post for so long, or until nothing is left (``again``: then from the beginning), and wait for all deliveries.

        Either ``window`` requests at most are not delivered everywhere at any time, or ``rate`` are sent a second.
        """
        path = self._write("posts", [one.pack() for one in posts])
        words = path, port, connections, window, seconds, rate, int(again)
        return Posted(**self._ask("post " + " ".join(str(word) for word in words)))

    def stare(self) -> int:
        """Let all clients read nothing more; returns how many."""
        return int(self._ask("stare")["changed"])

    def vanish(self) -> int:
        """
        Unplug all clients: what the server sends is dropped unacknowledged, and nothing comes back; returns how many.

        Only `close` makes them be heard of again, with their FIN.
        """
        return int(self._ask("vanish")["changed"])

    def close(self) -> None:
        """Close all clients."""
        self._ask("close")

    def _write(self, name: str, items: list[bytes]) -> Path:
        path = Path(self._folder.name, name)
        path.write_bytes(wire.pack_all(items))
        return path

    def _ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(f"{command}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self._process.stdout.readline()
        if not answer:
            raise LoadFailed(f"the load generator ended with status {self._process.wait()}")
        found: dict[str, Any] = json.loads(answer)
        return found
