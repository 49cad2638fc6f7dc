"""
Thousands of short connections.

While events for others fly, nobody ever gets a byte that was meant for another; and what a connection was made of is
freed when it ends, not when somebody looks for garbage.
"""

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from broadcast.contracts import topics
from tests.support.broadcast_process import Broadcast, event, ticket
from tests.support.broadcast_valkey import Valkey
from tests.support.rude_clients import RudeClient, RudeStream

pytestmark = pytest.mark.e2e

CONNECTIONS = 2_000
AT_ONCE = 20
GARBAGE = "python_gc_objects_collected_total"
UNLIMITED = {
    "BROADCAST_CONNECTS_PER_SECOND_PER_USER": 1_000_000,
    "BROADCAST_CONNECTIONS_PER_ADDRESS": 1_000_000,
    "BROADCAST_CONNECTS_PER_SECOND_PER_ADDRESS": 1_000_000,
    "LOG_LEVEL": "WARNING",
}


@pytest.fixture
def broadcast(shared_valkey: Valkey, tmp_path: Path) -> Iterator[Broadcast]:
    """A service that lets everybody in."""
    process = Broadcast(shared_valkey.url, tmp_path / "broadcast.log", **UNLIMITED).start()
    yield process
    process.stop()


class Somebody:
    """A client that asks for one course, and looks at everything that it gets."""

    def __init__(self, socket: ClientConnection, user: str, course: str) -> None:
        self.socket = socket
        self._user, self._course = user, course
        self.seqs: list[int] = []

    async def receive(self) -> None:
        """Take a frame; it must be one that this client asked for."""
        async with asyncio.timeout(20):
            frame = json.loads(await self.socket.recv())
        if "data" in frame:
            assert topics.of_envelope(frame) == self._course, frame
            self.seqs.append(frame["seq"])
        else:
            assert frame.get("topic") in {None, self._course, topics.user(self._user)}, frame
            assert frame.get("userId") in {None, self._user}, frame


async def arrive(broadcast: Broadcast, course: str) -> Somebody:
    """Connect, and subscribe from the beginning."""
    user = str(uuid.uuid4())
    headers = {"Authorization": f"Bearer {ticket(user, [course])}"}
    url = f"ws://127.0.0.1:{broadcast.port}/ws/"
    somebody = Somebody(await connect(url, additional_headers=headers, compression=None), user, course)
    await somebody.socket.send(json.dumps({"type": "subscribe", "topic": course, "since": 0}))
    return somebody


async def come_and_go(broadcast: Broadcast, number: int, noisy: str) -> None:
    """
    Stay for a moment: on a course with many events, or on one of one's own, where there is nothing to hear.

    Two of three vanish with a reset while events are on their way to them; whoever comes next has their descriptor.
    """
    quiet = number % 2
    somebody = await arrive(broadcast, topics.course(uuid.uuid4()) if quiet else noisy)
    for _ in range(3 if quiet else 3 + number % 8):
        await somebody.receive()
    if quiet:
        # It has asked for the answer to its own last word: what came before it was for somebody else.
        await somebody.socket.send('{"type":"ping"}')
        await somebody.receive()
        assert somebody.seqs == []
    if number % 3:
        somebody.socket.transport.abort()
    else:
        await somebody.socket.close()


async def test_nobody_ever_gets_what_was_meant_for_another(broadcast: Broadcast):
    noisy = topics.course(uuid.uuid4())
    stayer = await arrive(broadcast, noisy)
    over = asyncio.Event()
    posted = 0

    async def post() -> None:
        nonlocal posted
        while not over.is_set():
            events = [event(noisy, seq, text="x" * 500) for seq in range(posted + 1, posted + 11)]
            assert (await asyncio.to_thread(broadcast.post, *events))[0] == 202
            posted += 10

    async def churn(first: int) -> None:
        for number in range(first, CONNECTIONS, AT_ONCE):
            await come_and_go(broadcast, number, noisy)

    async def stay() -> None:
        while not posting.done() or stayer.seqs[-1] < posted:
            await stayer.receive()

    posting, staying = asyncio.create_task(post()), asyncio.create_task(stay())
    try:
        await asyncio.gather(*(churn(first) for first in range(AT_ONCE)))
    finally:
        over.set()
        await posting
    # What it hears last may have come before its POST was answered: this answer comes after it.
    await stayer.socket.send('{"type":"ping"}')
    await staying
    assert stayer.seqs == list(range(1, posted + 1))
    await stayer.socket.close()


@pytest.mark.parametrize(("kind", "connections"), [(RudeClient, 3_000), (RudeStream, 3_000)])
def test_who_leaves_leaves_no_garbage(broadcast: Broadcast, kind: type[RudeClient | RudeStream], connections: int):
    user, course = str(uuid.uuid4()), topics.course(uuid.uuid4())
    granted = ticket(user, [course])
    with kind(broadcast.port, granted, course):
        before = broadcast.metric(GARBAGE)
        for _ in range(connections):
            kind(broadcast.port, granted, course).socket.close()
    # Were they made of objects that hold each other, enough would have come together to be looked for.
    assert broadcast.metric(GARBAGE) - before < 5_000
