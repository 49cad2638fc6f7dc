"""The history, on a real Valkey."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadcast import revocations
from broadcast.history import Gap, Gaps, History, Unavailable, connect
from broadcast.revocations import Revocation
from tests.support.broadcast_fakes import TOPIC, make_parcel
from tests.support.broadcast_valkey import Valkey

OTHER = TOPIC[:-1] + "8"
NOW = 1_760_000_000_000

Open = Callable[..., History]


@pytest.fixture
async def open_history(empty_valkey: Valkey) -> AsyncIterator[Open]:
    """A way to open histories as processes do."""
    opened: list[History] = []

    def open_one(valkey: Valkey = empty_valkey, *, length: int = 100, seconds: int = 100, timeout: float = 2, **more):
        redis = connect(valkey.url, timeout_seconds=timeout)
        opened.append(History(redis, length=length, seconds=seconds, **more))
        return opened[-1]

    yield open_one
    for history in opened:
        await history.close()


def parcels(*seqs: int, topic: str = TOPIC):
    """Make events."""
    return [make_parcel(seq, topic=topic) for seq in seqs]


async def test_what_was_appended_is_read_after_any_seq(open_history: Open):
    history = open_history()
    assert await history.append(parcels(1, 2, 3), now_ms=NOW) == 0
    for since in range(4):
        retained = await history.read(TOPIC, since=since, limit=10)
        assert (retained.last, retained.length) == (3, 3)
        assert retained.bodies == [p.body for p in parcels(*range(since + 1, 4))]
    assert (await history.read(TOPIC, since=None, limit=10)).bodies == []


async def test_another_process_reads_the_same(open_history: Open):
    await open_history().append(parcels(1, 2), now_ms=NOW)
    retained = await open_history().read(TOPIC, since=0, limit=10)
    assert len(retained.bodies) == 2


async def test_a_topic_that_it_does_not_know(open_history: Open):
    history = open_history()
    retained = await history.read(TOPIC, since=0, limit=10)
    assert (retained.last, retained.length, retained.bodies) == (None, 0, [])
    assert retained.epoch_ms == history.epoch_ms > 0
    assert await history.positions([TOPIC]) == {}


async def test_a_topic_that_it_does_not_know_begins_anywhere(open_history: Open):
    history = open_history()
    await history.append(parcels(7, 8), now_ms=NOW)
    retained = await history.read(TOPIC, since=6, limit=10)
    assert (retained.last, retained.length, len(retained.bodies)) == (8, 2, 2)
    assert (await history.read(TOPIC, since=5, limit=10)).bodies == []


async def test_duplicates_are_counted_and_kept_once(open_history: Open):
    history = open_history()
    await history.append(parcels(1, 2), now_ms=NOW)
    assert await history.append(parcels(1, 2, 2, 3, 3), now_ms=NOW) == 4
    assert (await history.read(TOPIC, since=0, limit=10)).length == 3


async def test_a_gap_takes_nothing_of_the_whole_batch(open_history: Open):
    history = open_history()
    await history.append(parcels(1), now_ms=NOW)
    withdrawn = [Revocation("a", None, 1)]
    batch = [*parcels(1, topic=OTHER), *parcels(2, 4, 7)]
    with pytest.raises(Gaps) as problem:
        await history.append(batch, withdrawn=withdrawn, now_ms=NOW)
    assert problem.value.gaps == [Gap(TOPIC, 2)]
    assert await history.positions([TOPIC, OTHER]) == {TOPIC: 1}
    assert (await history.revocations_after("0"))[1] == []


async def test_every_topic_with_a_gap_is_named(open_history: Open):
    history = open_history()
    await history.append([*parcels(5), *parcels(2, topic=OTHER)], now_ms=NOW)
    with pytest.raises(Gaps) as problem:
        await history.append([*parcels(7), *parcels(4, topic=OTHER)], now_ms=NOW)
    assert sorted(gap.expected for gap in problem.value.gaps) == [3, 6]


async def test_only_so_many_are_kept(open_history: Open):
    history = open_history(length=3)
    await history.append(parcels(*range(1, 11)), now_ms=NOW)
    retained = await history.read(TOPIC, since=7, limit=10)
    assert (retained.last, retained.length) == (10, 3)
    assert len(retained.bodies) == 3
    assert (await history.read(TOPIC, since=6, limit=10)).bodies == []


def long_parcels(*seqs: int, size: int = 1000):
    """Make events that are all as long."""
    return [make_parcel(seq, text="x" * (size - len(make_parcel(seq, text="").body))) for seq in seqs]


async def test_only_so_many_bytes_are_kept_and_the_newest_event_in_any_case(open_history: Open):
    history = open_history(size_bytes=3500)
    await history.append(long_parcels(1, 2, 3), now_ms=NOW)
    before = await history.read(TOPIC, since=0, limit=10)
    assert (before.length, before.is_trimmed, len(before.bodies)) == (3, False, 3)
    await history.append(long_parcels(4, 5), now_ms=NOW)
    after = await history.read(TOPIC, since=2, limit=10)
    assert (after.last, after.length, after.is_trimmed) == (5, 3, True)
    assert after.bodies == [p.body for p in long_parcels(3, 4, 5)]
    await history.append(parcels(6), now_ms=NOW)
    room = await history.read(TOPIC, since=6, limit=10)
    assert (room.length, room.is_trimmed) == (4, True)
    await history.append(long_parcels(7, size=5000), now_ms=NOW)
    newest = await history.read(TOPIC, since=6, limit=10)
    assert (newest.length, newest.bodies) == (1, [p.body for p in long_parcels(7, size=5000)])


async def test_the_bytes_that_are_kept_are_counted_exactly_whatever_comes_and_goes(
    open_history: Open, empty_valkey: Valkey
):
    history = open_history(length=40, size_bytes=9_000)
    generator = random.Random(1)
    seq = 0
    for _ in range(60):
        new = [seq + n for n in range(1, generator.randint(2, 30))]
        sizes = [generator.randint(250, 900) for _ in new]
        await history.append([long_parcels(n, size=s)[0] for n, s in zip(new, sizes, strict=True)], now_ms=NOW)
        seq = new[-1]
        (key,) = empty_valkey.client.keys("coursehub:*:events:*")
        (head,) = empty_valkey.client.mget(empty_valkey.client.keys("coursehub:*:head:*"))
        kept = sum(map(len, empty_valkey.client.lrange(key, 0, -1)))
        assert head.split(b",")[:2] == [b"%d" % seq, b"%d" % kept]
        assert kept <= 9_000
        assert empty_valkey.client.llen(key) <= 40
        if generator.random() < 0.1:
            empty_valkey.client.delete(key)


async def test_more_bytes_than_may_be_replayed_are_not_read(open_history: Open):
    history = open_history()
    await history.append(long_parcels(1, 2, 3), now_ms=NOW)
    assert len((await history.read(TOPIC, since=0, limit=10, limit_bytes=3000)).bodies) == 3
    retained = await history.read(TOPIC, since=0, limit=10, limit_bytes=2999)
    assert (retained.last, retained.length, retained.bodies) == (3, 3, [])


async def test_appends_at_once_are_each_all_or_nothing(open_history: Open):
    history = open_history()
    await history.append(parcels(1), now_ms=NOW)
    results = await asyncio.gather(
        history.append(parcels(2, 3), now_ms=NOW),
        history.append([*parcels(1, topic=OTHER), *parcels(9)], now_ms=NOW),
        history.append(parcels(3, 4), now_ms=NOW),
        *(history.append([make_parcel(1, topic=f"{TOPIC[:-4]}f{number:03x}")], now_ms=NOW) for number in range(300)),
        return_exceptions=True,
    )
    assert results[0] == 0
    assert isinstance(results[1], Gaps)
    assert results[1].gaps == [Gap(TOPIC, 4)]
    assert results[2:] == [1, *[0] * 300]
    assert await history.positions([TOPIC, OTHER]) == {TOPIC: 4}


async def test_a_server_that_forgot_the_script_is_given_it_again(open_history: Open, empty_valkey: Valkey):
    history = open_history()
    await history.append(parcels(1), now_ms=NOW)
    empty_valkey.client.script_flush()
    results = await asyncio.gather(*(history.append(parcels(seq), now_ms=NOW) for seq in (2, 3, 4)))
    assert results == [0, 0, 0]


async def test_who_appends_and_is_gone_before_the_answer_disturbs_nobody(open_history: Open):
    history = open_history()
    await history.check()
    hasty = asyncio.create_task(history.append(parcels(1), now_ms=NOW))
    patient = asyncio.create_task(history.append(parcels(2), now_ms=NOW))
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient == 0
    assert (await history.read(TOPIC, since=0, limit=10)).last == 2


async def test_a_server_without_room_is_unavailable_until_it_has_some(open_history: Open):
    valkey = Valkey().start()
    try:
        history = open_history(valkey)
        await history.append(parcels(1), now_ms=NOW)
        valkey.client.config_set("maxmemory-policy", "noeviction")
        valkey.client.config_set("maxmemory", 1)
        for refused in (parcels(1, topic=OTHER), [*parcels(2), *parcels(1, topic=OTHER)]):
            with pytest.raises(Unavailable):
                await history.append(refused, now_ms=NOW)
        assert await history.positions([TOPIC, OTHER]) == {TOPIC: 1}
        valkey.client.config_set("maxmemory", 0)
        assert await history.append([*parcels(2), *parcels(1, topic=OTHER)], now_ms=NOW) == 0
    finally:
        valkey.close()


async def test_more_than_may_be_replayed_is_not_read(open_history: Open):
    history = open_history()
    await history.append(parcels(*range(1, 11)), now_ms=NOW)
    retained = await history.read(TOPIC, since=0, limit=9)
    assert (retained.last, retained.length, retained.bodies) == (10, 10, [])
    assert len((await history.read(TOPIC, since=0, limit=10)).bodies) == 10


async def test_a_thousand_events_of_one_topic_at_once(open_history: Open):
    history = open_history(length=2000)
    batch = parcels(*range(1, 1102))
    assert await history.append(batch, now_ms=NOW) == 0
    assert (await history.read(TOPIC, since=0, limit=2000)).bodies == [parcel.body for parcel in batch]


async def test_a_thousand_topics_at_once(open_history: Open):
    history = open_history()
    topics = [f"{TOPIC[:-4]}{number:04x}" for number in range(1001)]
    await history.append([make_parcel(1, topic=topic) for topic in topics], now_ms=NOW)
    assert await history.positions(topics) == dict.fromkeys(topics, 1)


async def test_a_thousand_events_of_many_topics_at_once(open_history: Open):
    history = open_history(length=2000)
    topics = [f"{TOPIC[:-3]}{number:03x}" for number in range(100)]
    batch = [make_parcel(seq, topic=topic) for seq in range(1, 11) for topic in topics]
    assert await history.append(batch, now_ms=NOW) == 0
    assert await history.positions(topics) == dict.fromkeys(topics, 10)


async def test_seqs_are_exact_up_to_the_largest(open_history: Open):
    history = open_history()
    largest = 2**53 - 1
    await history.append(parcels(largest - 1, largest), now_ms=NOW)
    assert (await history.read(TOPIC, since=largest - 1, limit=10)).last == largest


async def test_events_expire_and_the_topics_last_seq_stays(open_history: Open, empty_valkey: Valkey):
    history = open_history(seconds=1)
    await history.append(parcels(1, 2), now_ms=NOW)
    (key,) = empty_valkey.client.keys("coursehub:*:events:*")
    empty_valkey.client.delete(key)
    retained = await history.read(TOPIC, since=1, limit=10)
    assert (retained.last, retained.length, retained.bodies) == (2, 0, [])
    await history.append(parcels(3), now_ms=NOW)
    assert len((await history.read(TOPIC, since=2, limit=10)).bodies) == 1


async def test_a_topic_that_was_forgotten_begins_without_the_events_that_were_not(
    open_history: Open, empty_valkey: Valkey
):
    history = open_history()
    await history.append(parcels(1, 2), now_ms=NOW)
    (key,) = empty_valkey.client.keys("coursehub:*:head:*")
    empty_valkey.client.delete(key)
    await history.append(parcels(5), now_ms=NOW)
    retained = await history.read(TOPIC, since=4, limit=10)
    assert (retained.last, retained.length, retained.bodies) == (5, 1, [p.body for p in parcels(5)])


async def test_every_key_of_a_topic_expires(open_history: Open, empty_valkey: Valkey):
    await open_history().append(parcels(1), now_ms=NOW)
    (head,), (events,) = (empty_valkey.client.keys(f"coursehub:*-*:{kind}:*") for kind in ("head", "events"))
    assert len(empty_valkey.client.keys("coursehub:*-*:*")) == 2
    assert 0 < empty_valkey.client.ttl(events) <= 100
    # So that a topic whose events are gone still knows where it stands.
    assert empty_valkey.client.ttl(head) > 6 * 86400


async def test_a_flush_begins_a_new_epoch_whoever_notices_first(open_history: Open, empty_valkey: Valkey):
    noticed: list[str] = []
    one = open_history(on_new_epoch=lambda: noticed.append("one"))
    two = open_history(on_new_epoch=lambda: noticed.append("two"))
    await one.append(parcels(1), now_ms=NOW)
    await two.positions([TOPIC])
    first_epoch = one.epoch_ms
    empty_valkey.client.flushall()
    assert await one.append(parcels(2), now_ms=NOW) == 0
    assert noticed == ["one"]
    assert (await two.read(TOPIC, since=0, limit=10)).length == 1
    assert noticed == ["one", "two"]
    assert one.epoch_ms == two.epoch_ms > first_epoch


@pytest.mark.parametrize("question", ["check", "positions", "read", "append"])
async def test_every_question_notices_a_flush(open_history: Open, empty_valkey: Valkey, question: str):
    noticed: list[bool] = []
    history = open_history(on_new_epoch=lambda: noticed.append(True))
    await history.append(parcels(1), now_ms=NOW)
    empty_valkey.client.flushall()
    if question == "check":
        await history.check()
    elif question == "positions":
        assert await history.positions([TOPIC]) == {}
    elif question == "read":
        assert (await history.read(TOPIC, since=1, limit=1)).last is None
    else:
        await history.append([], withdrawn=[Revocation("a", None, 1)], now_ms=NOW)
    assert noticed == [True]


async def test_a_restarted_server_begins_a_new_epoch_even_with_its_data():
    valkey = Valkey(persistent=True).start()
    noticed: list[bool] = []
    history = History(
        connect(valkey.url, timeout_seconds=2), length=10, seconds=10, on_new_epoch=lambda: noticed.append(True)
    )
    try:
        await history.append(parcels(1), now_ms=NOW)
        valkey.kill()
        valkey.start()
        assert valkey.client.exists("coursehub:epoch")
        await history.check()
        assert noticed == [True]
        assert (await history.read(TOPIC, since=1, limit=1)).last is None
    finally:
        await history.close()
        valkey.close()


async def test_two_processes_that_begin_at_once_agree(open_history: Open):
    histories = [open_history() for _ in range(5)]
    await asyncio.gather(*(history.check() for history in histories))
    assert len({history.epoch_ms for history in histories}) == 1


async def test_tickets_made_about_the_time_of_a_loss_are_from_before_it(open_history: Open, empty_valkey: Valkey):
    history = open_history()
    await history.check()
    seconds, microseconds = empty_valkey.client.time()
    fresh_epoch = history.epoch_ms
    assert fresh_epoch <= seconds * 1000 + microseconds // 1000
    empty_valkey.client.flushall()
    await history.check()
    seconds, microseconds = empty_valkey.client.time()
    assert history.epoch_ms > seconds * 1000 + microseconds // 1000


async def test_revocations_are_read_in_order_from_any_point(open_history: Open):
    history = open_history()
    said = [Revocation("a", TOPIC, number) for number in range(3)]
    await history.append([], withdrawn=said[:2], now_ms=NOW)
    position, heard = await history.revocations_after("0")
    assert heard == said[:2]
    assert await history.revocations_after(position) == (position, [])
    await history.append(parcels(1), withdrawn=said[2:], now_ms=NOW)
    assert (await history.revocations_after(position))[1] == said[2:]


async def test_revocations_are_kept_while_a_ticket_from_before_may_live(open_history: Open, empty_valkey: Valkey):
    history = open_history()
    said = [Revocation("a", None, number) for number in range(500)]
    now_ms = empty_valkey.client.time()[0] * 1000
    await history.append([], withdrawn=said, now_ms=now_ms)
    await history.append([], withdrawn=[Revocation("b", None, 1)], now_ms=now_ms + revocations.LIFETIME_MS - 60_000)
    assert (await history.revocations_after("0"))[1][:500] == said
    await history.append([], withdrawn=[Revocation("b", None, 2)], now_ms=now_ms + revocations.LIFETIME_MS + 60_000)
    # Redis gives them up by the node.
    assert empty_valkey.client.xlen("coursehub:control") < 300


async def test_a_server_that_is_away_is_unavailable(open_history: Open):
    valkey = Valkey().start()
    history = open_history(valkey, timeout=0.2)
    await history.check()
    valkey.pause()
    for question in (history.ping(), history.read(TOPIC, since=0, limit=1), history.append(parcels(1), now_ms=NOW)):
        with pytest.raises(Unavailable):
            await question
    valkey.resume()
    valkey.kill()
    with pytest.raises(Unavailable):
        await history.positions([TOPIC])
    valkey.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.integers(1, 12), max_size=6), max_size=8))
async def test_the_history_is_contiguous_whatever_is_posted(empty_valkey: Valkey, batches: list[list[int]]):
    """Against a model: what a topic takes, refuses and keeps."""
    empty_valkey.client.flushall()
    history = History(connect(empty_valkey.url, timeout_seconds=2), length=100, seconds=100)
    kept: list[int] = []
    try:
        for batch in batches:
            grown, duplicates, gap = list(kept), 0, False
            for seq in batch:
                if not grown or seq == grown[-1] + 1:
                    grown.append(seq)
                elif seq <= grown[-1]:
                    duplicates += 1
                else:
                    gap = True
            if gap:
                with pytest.raises(Gaps) as problem:
                    await history.append(parcels(*batch), now_ms=NOW)
                assert problem.value.gaps == [Gap(TOPIC, kept[-1] + 1 if kept else batch[0])]
            else:
                assert await history.append(parcels(*batch), now_ms=NOW) == duplicates
                kept = grown
        retained = await history.read(TOPIC, since=kept[0] - 1 if kept else 0, limit=100)
        assert retained.bodies == [p.body for p in parcels(*kept)]
    finally:
        await history.close()
