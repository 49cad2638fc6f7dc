"""How what a channel layer lost is brought from the history."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from broadcast.healing import Healer
from broadcast.history import Unavailable
from broadcast.hub import Change, Hub
from broadcast.metrics import Metrics
from broadcast.resume import Bodies, Retained
from tests.support.broadcast_fakes import TOPIC, RecordingListener, make_parcel


class FakeHistory:
    """Holds the events up to ``last`` of one topic; does what a test wants while it is read."""

    def __init__(self) -> None:
        self.last = 0
        self.reads = 0
        self.meanwhile: Callable[[], None] = lambda: None

    async def read(self, topic: str, *, since: int, limit: int) -> Retained:
        """Answer as of now, after what happens meanwhile."""
        self.reads += 1
        last, meanwhile, self.meanwhile = self.last, self.meanwhile, lambda: None
        meanwhile()
        bodies = Bodies(make_parcel(seq).body for seq in range(since + 1, last + 1))
        return Retained(1, last, last, bodies)


class World:
    """A topic with one listener, that begins at 0, and a healer."""

    def __init__(self) -> None:
        self.history = FakeHistory()
        self.hub = Hub(on_change=self.on_change)
        self.healer = Healer(self.hub, self.history, Metrics(), limit=100)  # type: ignore[arg-type]
        self.listener = RecordingListener()
        subscription = self.hub.subscribe(TOPIC, self.listener)
        self.hub.settle(TOPIC, 0)
        self.hub.start(subscription, 0)

    def on_change(self, change: Change, topic: str) -> None:
        """Report gaps, as the service does."""
        if change is Change.GAP:
            self.healer.report(topic)

    def lose_up_to(self, seq: int) -> None:
        """Have everything posted up to an event, and let only this one arrive."""
        self.history.last = seq
        self.hub.emit(make_parcel(seq))

    async def hears(self, *heard: object) -> None:
        """Wait until the listener has heard this."""
        async with asyncio.timeout(10):
            while len(self.listener.heard) < len(heard):
                await asyncio.sleep(0.005)
        assert self.listener.heard == list(heard)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A world whose healer is at work."""
    made = World()
    running = asyncio.create_task(made.healer.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_what_is_missing_is_brought_from_the_history(world: World):
    world.lose_up_to(3)
    await world.hears(1, 2, 3)
    assert world.history.reads == 1


async def test_a_gap_that_could_not_be_filled_is_tried_again_without_another_report(world: World):
    def fail() -> None:
        raise Unavailable("away")

    world.history.meanwhile = fail
    world.lose_up_to(3)
    await world.hears(1, 2, 3)
    assert world.history.reads == 2


async def test_what_is_lost_while_the_history_is_read_is_brought_too(world: World):
    world.history.meanwhile = lambda: world.lose_up_to(5)
    world.lose_up_to(2)
    await world.hears(1, 2, 3, 4, 5)
