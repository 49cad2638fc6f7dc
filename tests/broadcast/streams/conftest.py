"""A service in this process, and event streams of it without a network."""

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Callable

import pytest

from broadcast.config import Settings
from broadcast.contracts import topics
from broadcast.service import Service
from tests.support.broadcast_fakes import Network
from tests.support.broadcast_process import TICKET_SECRET
from tests.support.broadcast_valkey import Valkey

Start = Callable[..., Service]


@pytest.fixture
async def start(empty_valkey: Valkey) -> AsyncIterator[Start]:
    """A way to run services."""
    running: list[asyncio.Task[None]] = []

    async def start_one(**changes: object) -> Service:
        settings = Settings(
            redis_url=empty_valkey.url,
            channel_layer_urls=("redis://in-memory",),
            broadcast_secret="b",
            ticket_secret=TICKET_SECRET,
            heartbeat_seconds=60,
            redis_timeout_seconds=1,
        )
        service = Service(dataclasses.replace(settings, **changes), make_layer=Network().layer)
        running.append(asyncio.create_task(service.run()))
        async with asyncio.timeout(20):
            while not service.ready:
                await asyncio.sleep(0.005)
        return service

    yield start_one
    for task in running:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def user() -> str:
    """Somebody's id."""
    return str(uuid.uuid4())


@pytest.fixture
def course() -> str:
    """The topic of a course that nothing ever happened to."""
    return topics.course(uuid.uuid4())
