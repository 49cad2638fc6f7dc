"""Processes for the end-to-end tests of the broadcast service."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broadcast.contracts import topics
from tests.support.broadcast_process import Broadcast
from tests.support.broadcast_valkey import Valkey

FAST = {
    "BROADCAST_HEARTBEAT_SECONDS": 0.5,
    "BROADCAST_PULSE_SECONDS": 0.1,
    "BROADCAST_BEACON_SECONDS": 0.2,
    "BROADCAST_DRAIN_LINGER_SECONDS": 0.5,
    "BROADCAST_REDIS_TIMEOUT_SECONDS": 0.5,
}
"""Settings that make what takes seconds in production visible in a test."""

Start = Callable[..., Broadcast]


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A Valkey for a module that leaves it alone."""
    server = Valkey().start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def broadcast(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broadcast]:
    """One process for a module that leaves it alone; its heartbeats do not come between."""
    process = Broadcast(valkey.url, tmp_path_factory.mktemp("logs") / "broadcast.log", LOG_LEVEL="DEBUG").start()
    yield process
    process.stop()


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """A Valkey for a test that harms it."""
    server = Valkey().start()
    yield server
    server.close()


@pytest.fixture
def start(own_valkey: Valkey, tmp_path: Path) -> Iterator[Start]:
    """A way to start processes on the test's own Valkey."""
    started: list[Broadcast] = []

    def start_one(*, wait: bool = True, **settings: object) -> Broadcast:
        log_path = tmp_path / f"broadcast-{len(started)}.log"
        started.append(Broadcast(own_valkey.url, log_path, **{**FAST, **settings}))
        return started[-1].start(wait=wait)

    yield start_one
    for process in started:
        process.stop()


@pytest.fixture
def user() -> str:
    """Somebody's id."""
    return str(uuid.uuid4())


@pytest.fixture
def course() -> str:
    """The topic of a course that nothing ever happened to."""
    return topics.course(uuid.uuid4())
