"""How events are gathered on their way to the other processes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from broadcast import bundles
from broadcast.bundles import Bundler
from tests.support.broadcast_fakes import TOPIC, make_parcel

OTHER = TOPIC[:-1] + "8"


class Layer:
    """Keeps what is published; says that it was tried when a test lets it."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, list[Any]]] = []
        self.dropped = 0
        self.tried: list[asyncio.Future[None]] = []
        self.is_slow = False

    def publish(self, bundle: Sequence[tuple[str, list[Any]]]) -> "asyncio.Future[None]":
        """Keep messages."""
        self.messages.extend(bundle)
        self.tried.append(asyncio.get_running_loop().create_future())
        if not self.is_slow:
            self.tried[-1].set_result(None)
        return self.tried[-1]

    def drop(self) -> None:
        """Count an event that found no room."""
        self.dropped += 1

    def go_on(self) -> None:
        """Have everything tried."""
        for tried in self.tried:
            if not tried.done():
                tried.set_result(None)

    def seqs(self) -> list[list[int | None]]:
        """List the seqs in each message."""
        return [[packed[0] for packed in message] for _, message in self.messages]


@pytest.fixture
def layer() -> Layer:
    return Layer()


@pytest.fixture
async def bundler(layer: Layer) -> AsyncIterator[Bundler]:
    """A bundler at work."""
    made = Bundler(layer.publish, on_drop=layer.drop)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def turn() -> None:
    """Let everybody else have a turn or two."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_events_of_one_turn_are_one_message_for_each_topic_in_order(layer: Layer, bundler: Bundler):
    for parcel in (make_parcel(1), make_parcel(7, topic=OTHER), make_parcel(2)):
        bundler.add(parcel)
    await turn()
    assert layer.messages == [
        (TOPIC, [make_parcel(1).pack(), make_parcel(2).pack()]),
        (OTHER, [make_parcel(7, topic=OTHER).pack()]),
    ]
    assert len(bundler) == 0


async def test_what_comes_while_a_bundle_is_sent_is_the_next_one(layer: Layer, bundler: Bundler):
    layer.is_slow = True
    bundler.add(make_parcel(1))
    await turn()
    bundler.add(make_parcel(2))
    await turn()
    bundler.add(make_parcel(3))
    assert layer.seqs() == [[1]]
    layer.go_on()
    await turn()
    assert layer.seqs() == [[1], [2, 3]]


async def test_newer_progress_takes_the_place_of_older_and_comes_last(layer: Layer, bundler: Bundler):
    def progress(percent: int, operation_id: str = "save-1") -> Any:
        return make_parcel(None, type_="upload-progress", operation_id=operation_id, progress=percent)

    for parcel in (progress(1), make_parcel(4), progress(50, "save-2"), progress(2), progress(3)):
        bundler.add(parcel)
    assert len(bundler) == 3
    await turn()
    assert layer.messages == [(TOPIC, [p.pack() for p in (make_parcel(4), progress(50, "save-2"), progress(3))])]


async def test_messages_are_bounded_in_events_and_bytes(layer: Layer, bundler: Bundler):
    for seq in range(1, 1102):
        bundler.add(make_parcel(seq))
    for seq in range(1, 10):
        bundler.add(make_parcel(seq, topic=OTHER, text="x" * 60_000))
    await turn()
    sizes = [(topic == TOPIC, len(message)) for topic, message in layer.messages]
    assert sizes == [(True, 500), (True, 500), (True, 101), (False, 5), (False, 4)]


async def test_beyond_the_bound_events_are_dropped_and_counted(layer: Layer, bundler: Bundler):
    layer.is_slow = True
    bundler.add(make_parcel(1))
    await turn()
    for seq in range(2, bundles.MOST_EVENTS + 5):
        bundler.add(make_parcel(seq))
    assert (len(bundler), layer.dropped) == (bundles.MOST_EVENTS, 3)


async def test_beyond_the_bound_in_bytes_events_are_dropped_until_the_bundle_is_on_its_way(
    layer: Layer, bundler: Bundler
):
    large = "x" * (1024 * 1024)
    fitting = bundles.MOST_BYTES // len(large)
    for first in (1, 1001):
        for seq in range(first, first + fitting + 3):
            bundler.add(make_parcel(seq, text=large))
        await turn()
    assert layer.dropped == 2 * 3
    assert len(layer.messages) == 2 * fitting


async def test_who_posted_waits_for_a_slow_layer_but_only_for_a_moment(layer: Layer, bundler: Bundler):
    await asyncio.wait_for(bundler.relieved(), 0.1)
    layer.is_slow = True
    bundler.add(make_parcel(1))
    await turn()
    for seq in range(2, bundles.MOST_EVENTS // 10 + 5):
        bundler.add(make_parcel(seq))
    waiting = asyncio.create_task(bundler.relieved())
    await turn()
    assert not waiting.done()
    layer.go_on()
    await asyncio.wait_for(waiting, 0.1)

    bundler.add(make_parcel(1))
    layer.tried.clear()
    await turn()
    for seq in range(2, bundles.MOST_EVENTS // 10 + 5):
        bundler.add(make_parcel(seq))
    await asyncio.wait_for(bundler.relieved(), 5)
    assert len(bundler) > 0
