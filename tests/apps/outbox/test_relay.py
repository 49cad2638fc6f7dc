"""The relay: what others left undelivered is found and delivered."""

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from apps.core import clock as now
from apps.outbox import relay, selectors
from apps.outbox.bridge import BridgeAway
from apps.outbox.models import CompletedChore, Topic
from apps.outbox.relay import Chore, Sweep
from tests.apps.outbox.bridge_server import BridgeServer
from tests.apps.outbox.writing import CONTROL, COURSE, OTHER, THIRD, delivered, revoke, write
from tests.support.bridge import MemoryBridge
from tests.support.clock import Clock
from tests.support.threads import Running, together, until


@pytest.fixture
def bridge() -> MemoryBridge:
    return MemoryBridge()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(relay, "time", clock)
    return clock


def _write_long_ago(*names: str) -> None:
    write(*names)
    Topic.objects.filter(name__in=names).update(touched_at=now.now() - timedelta(hours=1))


def test_a_sweep_delivers_all_that_was_left_however_much(bridge: MemoryBridge, clock: Clock) -> None:
    write(*[COURSE] * 1_200, OTHER)
    revoke(COURSE)
    Sweep(bridge)()

    assert bridge.seqs(COURSE) == list(range(1, 1_201))
    assert bridge.seqs(OTHER) == [1]
    assert len(bridge.controls) == delivered(CONTROL) == 1
    assert selectors.behind() == []


def test_a_sweep_with_nothing_to_do_posts_nothing(bridge: MemoryBridge, clock: Clock) -> None:
    sweep = Sweep(bridge)
    sweep()
    write(COURSE)
    sweep()
    sweep()

    assert len(bridge.posts) == 1


def test_very_many_topics_are_delivered_some_at_a_time(bridge: MemoryBridge, clock: Clock) -> None:
    names = [f"course:01900000-0000-7000-8000-{n:012x}" for n in range(450)]
    write(*names)
    Sweep(bridge)()

    assert [len(post) for post in bridge.posts] == [200, 200, 50]


def test_the_topics_that_wait_longest_come_first(bridge: MemoryBridge, clock: Clock) -> None:
    write(COURSE)
    _write_long_ago(OTHER)

    assert selectors.behind() == [OTHER, COURSE]
    assert selectors.behind(since=timedelta(minutes=10)) == [COURSE]


def test_the_first_sweep_finds_old_leftovers(bridge: MemoryBridge, clock: Clock) -> None:
    _write_long_ago(COURSE)
    Sweep(bridge)()

    assert bridge.seqs(COURSE) == [1]


def test_the_next_sweeps_look_only_at_what_was_touched_lately(bridge: MemoryBridge, clock: Clock) -> None:
    sweep = Sweep(bridge)
    sweep()
    _write_long_ago(COURSE)
    write(OTHER)
    sweep()

    assert (bridge.seqs(COURSE), bridge.seqs(OTHER)) == ([], [1])


def test_every_five_minutes_a_sweep_looks_at_everything_however_often_it_runs(
    bridge: MemoryBridge, clock: Clock
) -> None:
    sweep = Sweep(bridge)
    sweep()
    _write_long_ago(COURSE)
    for _ in range(3):
        clock.pass_(99)
        sweep()
    assert bridge.seqs(COURSE) == []
    clock.pass_(4)
    sweep()

    assert bridge.seqs(COURSE) == [1]


def test_after_a_failure_the_next_sweep_looks_at_everything(bridge: MemoryBridge, clock: Clock) -> None:
    sweep = Sweep(bridge)
    sweep()
    write(OTHER)
    bridge.away = True
    with pytest.raises(BridgeAway):
        sweep()
    _write_long_ago(COURSE)
    bridge.away = False
    sweep()

    assert (bridge.seqs(COURSE), bridge.seqs(OTHER)) == ([1], [1])


def test_a_sweep_that_could_not_see_everything_is_followed_by_another_full_one(
    bridge: MemoryBridge, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "BEHIND_AT_ONCE", 2)
    _write_long_ago(COURSE, OTHER, THIRD)
    sweep = Sweep(bridge)
    sweep()
    assert len(bridge.taken) == 2
    sweep()

    assert len(bridge.taken) == 3


# The process


@pytest.fixture
def chores(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], Chore]]:
    """The chores of a relay that has no others."""
    chores: list[Callable[[], Chore]] = []
    monkeypatch.setattr(relay, "_chores", chores)
    return chores


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    stop = threading.Event()
    yield stop
    stop.set()


def test_it_does_each_chore_again_and_again_until_it_is_told_to_stop(
    chores: list[Callable[[], Chore]], stop: threading.Event
) -> None:
    often, seldom = [], []
    relay.register(lambda: Chore("often", 0.001, lambda: often.append(1)))
    relay.register(lambda: Chore("seldom", 3600, lambda: seldom.append(1)))
    running = Running(lambda: relay.run(stop))
    until(lambda: len(often) > 5 and seldom)
    stop.set()
    running.result()

    assert seldom == [1]


def test_what_is_under_way_is_finished(chores: list[Callable[[], Chore]], stop: threading.Event) -> None:
    began, may_end, ended = threading.Event(), threading.Event(), []

    def slow() -> None:
        began.set()
        may_end.wait(10)
        ended.append(1)

    relay.register(lambda: Chore("slow", 0, slow))
    running = Running(lambda: relay.run(stop))
    assert began.wait(10)
    stop.set()
    assert not running.ended
    may_end.set()
    running.result()

    assert ended == [1]


@pytest.mark.parametrize("error", [BridgeAway("away"), ValueError("nobody thought of it")])
def test_a_chore_that_fails_is_done_again_and_keeps_no_other_from_its_work(
    chores: list[Callable[[], Chore]], stop: threading.Event, error: Exception
) -> None:
    failed, done = [], []

    def fail() -> None:
        failed.append(1)
        raise error

    relay.register(lambda: Chore("fails", 0.001, fail))
    relay.register(lambda: Chore("works", 0.001, lambda: done.append(1)))
    running = Running(lambda: relay.run(stop))
    until(lambda: len(failed) > 2 and len(done) > 2)
    stop.set()
    running.result()


# How late it is


def _overdue() -> dict[str, float]:
    (family,) = relay.overdue()
    return {sample.labels["chore"]: sample.value for sample in family.samples}


def _run_until(condition: Callable[[], object]) -> None:
    stop = threading.Event()
    running = Running(lambda: relay.run(stop))
    until(condition)
    stop.set()
    running.result()


def test_a_chore_that_no_relay_ever_completed_is_infinitely_late(chores: list[Callable[[], Chore]]) -> None:
    relay.register(lambda: Chore("sweep", 1, lambda: None))

    assert _overdue() == {"sweep": math.inf}


def test_a_completed_chore_is_late_once_its_time_has_come_again(chores: list[Callable[[], Chore]]) -> None:
    relay.register(lambda: Chore("sweep", 60, lambda: None))
    _run_until(CompletedChore.objects.exists)
    assert _overdue() == {"sweep": 0}
    CompletedChore.objects.update(at=now.now() - timedelta(seconds=100))

    assert 40 <= _overdue()["sweep"] < 50


def test_a_chore_that_fails_is_not_completed(chores: list[Callable[[], Chore]]) -> None:
    failed: list[int] = []

    def fail() -> None:
        failed.append(1)
        raise ValueError("nobody thought of it")

    relay.register(lambda: Chore("fails", 0.001, fail))
    relay.register(lambda: Chore("works", 60, lambda: None))
    _run_until(lambda: len(failed) > 2 and CompletedChore.objects.exists())

    assert _overdue() == {"fails": math.inf, "works": 0}


def test_that_a_chore_is_completed_is_written_down_every_few_seconds_only(chores: list[Callable[[], Chore]]) -> None:
    done: list[object] = []
    relay.register(lambda: Chore("often", 0.001, lambda: done.append(CompletedChore.objects.first())))
    _run_until(lambda: len(done) > 20)

    assert len({completed.at for completed in done if completed}) == 1


def test_two_relays_note_the_same_chore(chores: list[Callable[[], Chore]]) -> None:
    relay.register(lambda: Chore("sweep", 60, lambda: None))
    together(*[lambda: _run_until(CompletedChore.objects.exists)] * 2)

    assert [chore.name for chore in CompletedChore.objects.all()] == ["sweep"]


@pytest.mark.parametrize("heard_by", ["the main thread", "another thread"])
def test_the_command_delivers_until_sigterm(settings: Any, heard_by: str) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    settings.RELAY_INTERVAL_MS = 5
    write(COURSE)
    with BridgeServer().running() as server:
        settings.BROADCAST_URL = server.url
        ending = Running(lambda: (until(lambda: server.posts), os.kill(os.getpid(), signal.SIGTERM)))
        if heard_by == "another thread":
            # As if the main thread were not woken by it, which happens when it is about to wait.
            signal.pthread_sigmask(signal.SIG_BLOCK, before)
        try:
            call_command("relay")
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, before)
            for number, handler in before.items():
                signal.signal(number, handler)
    ending.result()

    assert delivered(COURSE) == 1
    assert len(server.posts) == 1
