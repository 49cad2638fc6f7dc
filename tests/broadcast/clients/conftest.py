"""A service behind a proxy that cuts, and clients in processes of their own."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import peers
from tests.support.broadcast_process import Broadcast
from tests.support.broadcast_valkey import Valkey, free_port
from tests.support.cutting_proxy import CuttingProxy

Json = dict[str, Any]


class RunningClient:
    """A client that prints what happens to it, one JSON object a line: ``opened``, ``frame`` or ``closed``."""

    def __init__(self, command: list[str], told: Json, log: Path) -> None:
        self._log = log
        self._grew = threading.Condition()
        self._lines: list[Json] = []
        environ = {**os.environ, "CHROMIUM": str(peers.chromium())}
        arguments = [command[0], *command[1:2], json.dumps(told), *command[2:]]
        if command[0] == sys.executable:
            arguments = [command[0], "-m", command[1], json.dumps(told)]
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                arguments, cwd=peers.ROOT, env=environ, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def frames(self) -> list[Json]:
        """List the frames that came, over all connections."""
        return [line["frame"] for line in self._lines if "frame" in line]

    def opened(self) -> list[str | None]:
        """List the subprotocols of the connections so far."""
        return [line["opened"] for line in self._lines if "opened" in line]

    def seqs(self, key: str) -> list[int]:
        """List the seqs of the events whose envelope has this key (``courseId`` or ``userId``), as they came."""
        return [f["seq"] for f in self.frames() if "data" in f and key in f and "seq" in f]

    def wait_for(self, is_so: Callable[["RunningClient"], bool], seconds: float = 30) -> None:
        """Wait until something has come."""
        with self._grew:
            if not self._grew.wait_for(lambda: is_so(self), seconds):
                raise TimeoutError(f"last seen: {self._lines[-5:]}\n{self._log.read_text()[-2000:]}")

    def close(self) -> None:
        """End it, with whatever it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, 9)
        self._process.wait()
        self._thread.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._grew:
                    self._lines.append(json.loads(line))
                    self._grew.notify_all()


@pytest.fixture(scope="module")
def page_port() -> int:
    """Where pages of another origin come from that may read event streams."""
    return free_port()


@pytest.fixture(scope="module")
def broadcast(tmp_path_factory: pytest.TempPathFactory, page_port: int) -> Iterator[Broadcast]:
    """A service that all clients share."""
    valkey = Valkey().start()
    settings = {
        # Event streams come back when they are told to.
        "BROADCAST_RECONNECT_SPREAD_SECONDS": 0.1,
        "CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{page_port}",
    }
    process = Broadcast(valkey.url, tmp_path_factory.mktemp("logs") / "broadcast.log", **settings).start()
    yield process
    process.stop()
    valkey.close()


@pytest.fixture
def proxy(broadcast: Broadcast) -> Iterator[CuttingProxy]:
    """The way to the service."""
    between = CuttingProxy(broadcast.port)
    yield between
    between.close()


Run = Callable[..., RunningClient]


@pytest.fixture
def run_client(tmp_path: Path) -> Iterator[Run]:
    """A way to start clients."""
    started: list[RunningClient] = []

    def start(command: list[str], **told: Any) -> RunningClient:
        started.append(RunningClient(command, told, tmp_path / f"client-{len(started)}.log"))
        return started[-1]

    yield start
    for client in started:
        client.close()
