"""Reading for many at once: few reads, and each client gets what it asked for."""

import asyncio

import pytest

from broadcast.history import Unavailable
from broadcast.reading import Reader
from broadcast.resume import Bodies, Retained
from tests.support.broadcast_fakes import TOPIC

OTHER = TOPIC[:-1] + "8"


class FakeHistory:
    """Ten events of each topic, of which the newest eight are kept; counts how often it is asked."""

    def __init__(self) -> None:
        self.epoch_ms = 1
        self.reads: list[tuple[str, int]] = []
        self.looks: list[list[str]] = []
        self.away = False

    async def read(self, topic: str, *, since: int, limit: int, limit_bytes: int) -> Retained:
        self.reads.append((topic, since))
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable
        missed = 10 - since
        fits = 0 < missed <= min(8, limit)
        bodies = Bodies(b"%d" % seq for seq in range(since + 1, 11)) if fits else Bodies()
        return Retained(self.epoch_ms, 10, 8, bodies)

    async def positions(self, names: list[str]) -> dict[str, int]:
        self.looks.append(list(names))
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable
        return {TOPIC: 10}


def reader(history: FakeHistory, limit: int = 100) -> Reader:
    return Reader(history, limit=limit, limit_bytes=0)  # type: ignore[arg-type]


async def test_a_crowd_with_the_same_since_is_one_read_and_one_set_of_frames():
    history = FakeHistory()
    read = reader(history)
    answers = await asyncio.gather(*(read.read(TOPIC, 7) for _ in range(100)))
    assert history.reads == [(TOPIC, 7)]
    assert list(answers[0].bodies) == [b"8", b"9", b"10"]
    assert {id(answer.bodies.wire) for answer in answers} == {id(answers[0].bodies.wire)}


async def test_each_gets_what_it_missed_whatever_the_others_missed():
    history = FakeHistory()
    read = reader(history)
    answers = await asyncio.gather(*(read.read(TOPIC, since) for since in range(13)))
    for since, answer in enumerate(answers):
        assert answer.last == 10
        expected = [b"%d" % seq for seq in range(since + 1, 11)] if since >= 2 else []
        assert list(answer.bodies) == expected, since
    assert [since for _, since in history.reads] == [0, 1, 2]


async def test_where_topics_stand_is_asked_once_for_all_of_them():
    history = FakeHistory()
    read = reader(history)
    known, unknown = await asyncio.gather(read.read(TOPIC, None), read.read(OTHER, None))
    assert (known.last, unknown.last, len(history.looks), history.reads) == (10, None, 1, [])


async def test_what_is_asked_for_during_a_read_is_read_after_it():
    history = FakeHistory()
    read = reader(history)
    first = asyncio.create_task(read.read(TOPIC, 7))
    while not history.reads:
        await asyncio.sleep(0)
    second = asyncio.create_task(read.read(TOPIC, 7))
    await asyncio.gather(first, second)
    assert history.reads == [(TOPIC, 7), (TOPIC, 7)]


@pytest.mark.parametrize("since", [None, 3])
async def test_when_redis_is_away_everybody_is_told_and_the_next_read_is_a_new_one(since: int | None):
    history = FakeHistory()
    history.away = True
    read = reader(history)
    results = await asyncio.gather(*(read.read(t, since) for t in (TOPIC, OTHER)), return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    history.away = False
    assert (await read.read(TOPIC, since)).last == 10


async def test_a_history_that_begins_anew_between_two_looks_is_looked_at_again():
    history = FakeHistory()
    looking = history.positions

    async def begin_anew(names: list[str]) -> dict[str, int]:
        if not history.looks:
            history.epoch_ms = 2
        return await looking(names)

    history.positions = begin_anew  # type: ignore[method-assign]
    assert (await reader(history).read(TOPIC, None)).epoch_ms == 2
    assert len(history.looks) == 2


@pytest.mark.parametrize("since", [None, 7])
async def test_one_who_stops_waiting_leaves_the_others_their_answers(since: int | None):
    read = reader(FakeHistory())
    leaving, staying = [asyncio.create_task(read.read(TOPIC, since)) for _ in range(2)]
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await asyncio.wait_for(staying, 5)).last == 10
