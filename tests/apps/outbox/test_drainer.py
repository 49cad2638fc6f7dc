"""The thread that delivers as soon as something is committed, and leaves it to the relay while that cannot be done."""

import threading
from collections.abc import Collection, Iterator
from typing import Any

import pytest
from django.db import connection

from apps.outbox import drainer as module
from apps.outbox.drainer import Drainer
from tests.apps.outbox.bridge_server import BridgeServer
from tests.apps.outbox.writing import COURSE, OTHER, delivered, leased, let_leases_run_out, write
from tests.support.bridge import MemoryBridge
from tests.support.clock import Clock
from tests.support.threads import until


class _Bridge(MemoryBridge):
    """Remembers with which database connections it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.backends: list[int] = []

    def post(self, batch: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            self.backends.append(cursor.fetchone()[0])
        super().post(batch)


@pytest.fixture
def bridge() -> _Bridge:
    return _Bridge()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def drainer(bridge: _Bridge, clock: Clock) -> Drainer:
    """A drainer at work. Its thread goes with the process, as it does in production."""
    drainer = Drainer(bridge)
    threading.Thread(target=drainer.run, daemon=True).start()
    return drainer


def _wake(drainer: Drainer, clock: Clock, *names: str) -> None:
    """Wake it and wait until it has looked at the clock: it has heard, and decided what to do."""
    asked = clock.asked
    drainer.wake(names)
    until(lambda: clock.asked > asked, "a drainer that wakes")


def _until_delivered(*names: str, seq: int = 1) -> None:
    until(lambda: all(delivered(name) == seq and not leased(name) for name in names), f"{names} delivered to {seq}")


def _end_backend(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert cursor.fetchone() == (True,)


def test_it_delivers_what_it_is_woken_for(drainer: Drainer, bridge: _Bridge) -> None:
    write(COURSE, OTHER)
    drainer.wake({COURSE})
    _until_delivered(COURSE)

    assert bridge.seqs(COURSE) == [1]
    assert bridge.seqs(OTHER) == []


def test_what_comes_while_it_posts_goes_together_in_the_next_post(drainer: Drainer, bridge: _Bridge) -> None:
    write(COURSE)
    with bridge.held() as posting:
        drainer.wake({COURSE})
        assert posting.wait(10)
        write(COURSE, OTHER, COURSE)
        drainer.wake({COURSE})
        drainer.wake({OTHER})
    _until_delivered(COURSE, seq=3)
    _until_delivered(OTHER)

    assert [len(post) for post in bridge.posts] == [1, 3]


def test_it_goes_on_without_being_woken_until_nothing_is_left(drainer: Drainer, bridge: _Bridge) -> None:
    write(*[COURSE] * 1_100)
    drainer.wake({COURSE})
    _until_delivered(COURSE, seq=1_100)

    assert bridge.seqs(COURSE) == list(range(1, 1_101))


def test_it_takes_very_many_topics_a_few_hundred_at_a_time(drainer: Drainer, bridge: _Bridge) -> None:
    names = [f"course:01900000-0000-7000-8000-{n:012x}" for n in range(450)]
    write(*names)
    drainer.wake(names)
    until(lambda: len(bridge.taken) == 450)

    assert max(len(post) for post in bridge.posts) == 200


def test_being_woken_for_nothing_does_no_harm(drainer: Drainer, bridge: _Bridge, clock: Clock) -> None:
    drainer.wake(set())
    write(COURSE)
    _wake(drainer, clock, COURSE, OTHER)
    _until_delivered(COURSE)


def test_while_the_bridge_is_away_it_pauses_and_forgets(drainer: Drainer, bridge: _Bridge, clock: Clock) -> None:
    write(COURSE)
    bridge.away = True
    _wake(drainer, clock, COURSE)
    until(lambda: clock.asked >= 2, "the failure")
    assert len(bridge.posts) == 1

    bridge.away = False
    clock.pass_(0.9)
    _wake(drainer, clock, COURSE)
    clock.pass_(0.2)
    write(OTHER)
    _wake(drainer, clock, OTHER)
    _until_delivered(OTHER)
    assert delivered(COURSE) == 0
    _wake(drainer, clock, COURSE)
    _until_delivered(COURSE)
    assert [len(post) for post in bridge.posts] == [1, 1, 1]


def test_an_error_nobody_thought_of_ends_neither_the_thread_nor_delivery(
    drainer: Drainer, bridge: _Bridge, clock: Clock
) -> None:
    write(COURSE)
    bridge.refuse(lambda event: 1 // 0 > 0)
    _wake(drainer, clock, COURSE)
    until(lambda: clock.asked >= 2, "the failure")
    bridge.accept_all()
    clock.pass_(1)
    _wake(drainer, clock, COURSE)
    _until_delivered(COURSE)


def test_a_database_connection_that_broke_while_it_slept_is_replaced(drainer: Drainer, bridge: _Bridge) -> None:
    write(COURSE)
    drainer.wake({COURSE})
    _until_delivered(COURSE)
    _end_backend(bridge.backends[0])
    write(COURSE)
    drainer.wake({COURSE})
    _until_delivered(COURSE, seq=2)

    assert bridge.backends[0] != bridge.backends[-1]
    assert bridge.seqs(COURSE) == [1, 2]


def test_a_database_that_goes_while_it_posts_leaves_the_events_to_be_posted_again(
    drainer: Drainer, bridge: _Bridge, clock: Clock
) -> None:
    write(COURSE)
    with bridge.held() as posting:
        _wake(drainer, clock, COURSE)
        assert posting.wait(10)
        _end_backend(bridge.backends[0])
    assert (delivered(COURSE), leased(COURSE)) == (0, True)

    let_leases_run_out()
    clock.pass_(1)
    _wake(drainer, clock, COURSE)
    _until_delivered(COURSE)
    assert bridge.seqs(COURSE) == [1]
    assert bridge.duplicates == 1


@pytest.fixture
def own_drainer() -> Iterator[None]:
    """Let this process deliver by itself, as production does."""
    module.use(None)
    yield
    module.use(lambda names: None)


def test_a_process_starts_its_drainer_when_it_first_commits_an_event(own_drainer: None, settings: Any) -> None:
    with BridgeServer().running() as server:
        settings.BROADCAST_URL = server.url
        write(COURSE)
        _until_delivered(COURSE)
        write(COURSE)
        _until_delivered(COURSE, seq=2)

    assert len(server.posts) == 2
    assert [thread.name for thread in threading.enumerate()].count("drainer") == 1


def test_another_waker_may_stand_in(woken: list[set[str]]) -> None:
    def remember(names: Collection[str]) -> None:
        heard.append(set(names))

    heard: list[set[str]] = []
    module.use(remember)
    write(COURSE)

    assert heard == [{COURSE}]
    assert woken == []
