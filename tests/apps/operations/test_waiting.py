"""Waiting for an operation's end without anyone polling."""

import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from apps.accounts.models import User
from apps.core import ids, metrics
from apps.core.redis import client
from apps.operations import runner, selectors, waiting
from apps.operations.waiting import Waiters
from coursehub.stack.ports import free_port
from tests.apps.operations.notes import LANE, OTHER_LANE, Notes, ask, operation
from tests.support.api import ApiClient
from tests.support.broadcast_valkey import Valkey
from tests.support.threads import Running, until


@pytest.fixture
def waiters(monkeypatch: pytest.MonkeyPatch) -> Waiters:
    """Those who wait in a process that has just begun."""
    waiters = Waiters()
    monkeypatch.setattr(selectors, "waiters", waiters)
    return waiters


@pytest.fixture
def redis_away(settings: Any) -> Iterator[None]:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    client.cache_clear()
    yield
    client.cache_clear()


def _number_waiting(waiters: Waiters) -> int:
    return sum(map(len, waiters._events.values()))


# Over REST


def test_the_answer_comes_when_it_ends_well_before_the_time(api: ApiClient, notes: Notes, waiters: Waiters) -> None:
    ask(api.user, "succeed")
    began = time.monotonic()
    waiting_ = Running(lambda: api.get("operations/op/?wait=25"))
    until(lambda: _number_waiting(waiters) == 1, "a waiter")
    runner.run_lane(LANE)

    assert waiting_.result().data["status"] == "succeeded"
    assert time.monotonic() - began < 10
    assert _number_waiting(waiters) == 0


def test_many_wait_for_one_end_with_one_subscription(api: ApiClient, notes: Notes, waiters: Waiters) -> None:
    ask(api.user, "succeed", "fail")
    running = [Running(lambda: ApiClient(api.user).get("operations/op/?wait=25")) for _ in range(4)]
    until(lambda: _number_waiting(waiters) == 4, "four waiters")
    listeners = dict(client().pubsub_numsub(waiting.CHANNEL))[waiting.CHANNEL.encode()]
    runner.run_lane(LANE)

    assert [one.result().data["status"] for one in running] == ["partial"] * 4
    # One of them may be of another test's process-wide waiters.
    assert listeners <= 2


def test_what_has_ended_is_answered_at_once(api: ApiClient, notes: Notes, waiters: Waiters) -> None:
    ask(api.user, "succeed")
    runner.run_lane(LANE)
    began = time.monotonic()

    assert api.get("operations/op/?wait=25").data["status"] == "succeeded"
    assert time.monotonic() - began < 5


def test_when_the_time_is_over_it_is_answered_as_it_is(api: ApiClient, notes: Notes, waiters: Waiters) -> None:
    ask(api.user, "succeed")
    began = time.monotonic()

    assert api.get("operations/op/?wait=0.2").data["status"] == "pending"
    assert time.monotonic() - began >= 0.2
    assert _number_waiting(waiters) == 0


def test_without_wait_nobody_waits(api: ApiClient, notes: Notes, waiters: Waiters) -> None:
    ask(api.user, "succeed")

    assert api.get("operations/op/").data["status"] == "pending"
    assert api.get("operations/op/?wait=0").data["status"] == "pending"
    assert waiters._thread is None


@pytest.mark.parametrize("wait", ["25.1", "26", "-1", "x", "nan", "inf", ""])
def test_a_time_that_is_none_is_refused(api: ApiClient, notes: Notes, wait: str) -> None:
    ask(api.user, "succeed")
    answer = api.get(f"operations/op/?wait={wait}")

    assert (answer.status, list(answer.error["fields"])) == (400, ["wait"])


def test_when_too_many_wait_already_it_is_answered_at_once(
    api: ApiClient, notes: Notes, waiters: Waiters, settings: Any
) -> None:
    settings.WAITERS_MAX = 1
    ask(api.user, "succeed")
    first = Running(lambda: ApiClient(api.user).get("operations/op/?wait=25"))
    until(lambda: _number_waiting(waiters) == 1, "a waiter")
    began = time.monotonic()
    assert api.get("operations/op/?wait=25").data["status"] == "pending"
    assert time.monotonic() - began < 5
    runner.run_lane(LANE)

    assert first.result().data["status"] == "succeeded"


def test_where_nobody_may_wait_it_is_answered_at_once(
    api: ApiClient, notes: Notes, waiters: Waiters, settings: Any
) -> None:
    settings.WAITERS_MAX = 0
    ask(api.user, "succeed")
    began = time.monotonic()

    assert api.get("operations/op/?wait=25").data["status"] == "pending"
    assert time.monotonic() - began < 5


def test_while_redis_is_away_it_is_answered_at_once(
    api: ApiClient, notes: Notes, waiters: Waiters, redis_away: None
) -> None:
    ask(api.user, "succeed")
    began = time.monotonic()

    assert api.get("operations/op/?wait=25").data["status"] == "pending"
    assert time.monotonic() - began < 5


# The bell


def test_it_rings_for_the_operations_that_ended_and_no_others(owner: User, notes: Notes, waiters: Waiters) -> None:
    for n, lane in enumerate([LANE, LANE, OTHER_LANE]):
        ask(owner, "succeed", key=f"op{n}", lane=lane)
    with (
        waiters.waiting_for(operation("op0").pk) as first,
        waiters.waiting_for(operation("op1").pk) as second,
        waiters.waiting_for(operation("op2").pk) as other,
    ):
        runner.run_lane(LANE)
        assert first and second and other
        assert first.wait(10) and second.wait(10)
        assert not other.is_set()
        runner.run_lane(OTHER_LANE)
        assert other.wait(10)


def test_it_rings_for_a_cancelled_one_too(api: ApiClient, notes: Notes, waiters: Waiters) -> None:
    ask(api.user, "succeed")
    with waiters.waiting_for(operation().pk) as ended:
        api.post("operations/op/cancel/")
        assert ended and ended.wait(10)


def test_it_does_not_ring_before_the_end(owner: User, notes: Notes, waiters: Waiters) -> None:
    ask(owner, "succeed", request="a", expect=2)
    with waiters.waiting_for(operation().pk) as ended:
        assert ended
        runner.run_lane(LANE)
        ask(owner, "succeed", request="b")
        # What rings is heard in order: once this one is, the first would have been.
        with waiters.waiting_for(UUID(int=1)) as marker:
            assert marker
            waiting.announce([UUID(int=1)])
            assert marker.wait(10)
        assert not ended.is_set()
        runner.run_lane(LANE)
        assert ended.wait(10)


def test_ringing_never_raises_and_is_counted(redis_away: None) -> None:
    before = metrics.FAILED_OPEN.labels("waiting")._value.get()
    waiting.announce([ids.new_id()])

    assert metrics.FAILED_OPEN.labels("waiting")._value.get() == before + 1


def test_operations_end_without_redis(owner: User, notes: Notes, redis_away: None) -> None:
    ask(owner, "succeed")
    runner.run_lane(LANE)

    assert operation().status == "succeeded"


def test_what_is_no_announcement_harms_nobody(owner: User, waiters: Waiters) -> None:
    with waiters.waiting_for(UUID(int=1)) as ended:
        assert ended
        client().publish(waiting.CHANNEL, b"")
        waiting.announce([UUID(int=2), UUID(int=1), UUID(int=3)])
        assert ended.wait(10)


# Redis comes and goes


@pytest.fixture
def valkey(settings: Any) -> Iterator[Valkey]:
    """A Valkey that may be killed."""
    valkey = Valkey().start()
    settings.REDIS_URL = valkey.url
    client.cache_clear()
    yield valkey
    valkey.close()
    client.cache_clear()


def test_when_redis_goes_nobody_waits_for_a_bell_that_cannot_ring(waiters: Waiters, valkey: Valkey) -> None:
    with waiters.waiting_for(UUID(int=1)) as ended:
        assert ended
        valkey.kill()
        assert ended.wait(10)
    with waiters.waiting_for(UUID(int=1)) as later:
        assert later is None
    valkey.start()


def test_when_redis_hangs_nobody_waits_for_a_bell_that_cannot_ring(waiters: Waiters, valkey: Valkey) -> None:
    with waiters.waiting_for(UUID(int=1)) as ended:
        assert ended
        valkey.pause()
        assert ended.wait(10)
    with waiters.waiting_for(UUID(int=1)) as later:
        assert later is None


def test_when_nothing_rings_for_long_one_waits_on(
    waiters: Waiters, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_SILENCE_SECONDS", 0.1)
    with waiters.waiting_for(UUID(int=1)) as ended:
        assert ended and not ended.wait(1)
        waiting.announce([UUID(int=1)])
        assert ended.wait(10)


def test_when_redis_is_back_one_can_wait_again(waiters: Waiters, valkey: Valkey) -> None:
    with waiters.waiting_for(UUID(int=1)) as ended:
        valkey.kill()
        assert ended and ended.wait(10)
    valkey.start()
    listener = waiters._thread
    assert listener
    listener.join(10)
    with waiters.waiting_for(UUID(int=1)) as again:
        assert again
        waiting.announce([UUID(int=1)])
        assert again.wait(10)


def test_one_thread_listens_for_all(waiters: Waiters) -> None:
    def wait() -> bool:
        with waiters.waiting_for(UUID(int=1)) as ended:
            return bool(ended and ended.wait(10))

    running = [Running(wait) for _ in range(5)]
    until(lambda: _number_waiting(waiters) == 5, "five waiters")
    mine = [thread for thread in threading.enumerate() if thread is waiters._thread]
    waiting.announce([UUID(int=1)])

    assert [one.result() for one in running] == [True] * 5
    assert len(mine) == 1
