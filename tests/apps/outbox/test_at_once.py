"""Whoever commits a few events posts them, and the drainer's thread does the rest."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

import pytest
from django.db import connection, transaction

from apps.core import clock
from apps.outbox import delivery, emit
from apps.outbox import drainer as module
from apps.outbox.bridge import Outgoing
from apps.outbox.drainer import Drainer
from apps.outbox.models import DeliveryCursor, OutboxEvent
from coursehub.stack import procfile
from tests.apps.outbox.bridge_server import BridgeServer
from tests.apps.outbox.writing import (
    COURSE,
    OTHER,
    THIRD,
    delivered,
    draft,
    leased,
    let_leases_run_out,
    revoke,
    withheld,
    write,
)
from tests.support.bridge import MemoryBridge
from tests.support.clock import Clock
from tests.support.threads import Running, together, until


class _Bridge(MemoryBridge):
    """Remembers which threads called it."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[threading.Thread] = []

    def post(self, batch: Sequence[Outgoing]) -> None:
        assert not connection.in_atomic_block
        self.threads.append(threading.current_thread())
        super().post(batch)

    def by_us(self) -> list[bool]:
        return [thread is threading.current_thread() for thread in self.threads]


@pytest.fixture
def bridge() -> _Bridge:
    return _Bridge()


@pytest.fixture
def clock_(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock_ = Clock()
    monkeypatch.setattr(module, "time", clock_)
    return clock_


@pytest.fixture
def drainer(bridge: _Bridge, clock_: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drainer]:
    """This process' drainer, with a bridge that we can look into."""
    drainer = Drainer(bridge)
    monkeypatch.setattr(module, "_of_this_process", lambda: drainer)
    module.use(None)
    threading.Thread(target=drainer.run, daemon=True).start()
    return drainer


def _until_settled(*names: str, seq: int) -> None:
    until(lambda: all(delivered(name) == seq and not leased(name) for name in names), f"{names} delivered to {seq}")
    module._of_this_process().finish()


@pytest.mark.usefixtures("drainer")
def test_who_commits_posts_and_the_thread_settles(bridge: _Bridge) -> None:
    for seq in (1, 2, 3):
        write(COURSE)
        assert bridge.seqs(COURSE) == list(range(1, seq + 1))
        _until_settled(COURSE, seq=seq)

    assert bridge.by_us() == [True] * 3


@pytest.mark.usefixtures("drainer")
def test_what_is_committed_together_is_posted_together_and_as_it_is_kept(bridge: _Bridge) -> None:
    write(OTHER, COURSE, OTHER)
    revoke(COURSE)
    _until_settled(OTHER, seq=2)
    _until_settled(COURSE, seq=1)

    assert [len(post) for post in bridge.posts] == [3, 1]
    assert [event["topic"] for event in bridge.posts[0]] == [COURSE, OTHER, OTHER]
    kept = [json.loads(event.body) for event in OutboxEvent.objects.filter(topic=OTHER).order_by("seq")]
    assert bridge.taken[OTHER] == [{"topic": OTHER, **event} for event in kept]
    assert [message["topic"] for message in bridge.controls] == [COURSE]


@pytest.mark.usefixtures("drainer")
def test_a_rollback_leaves_no_lease() -> None:
    write(COURSE)
    _until_settled(COURSE, seq=1)
    with transaction.atomic():
        emit.emit([draft(COURSE)], now=clock.now())
        transaction.set_rollback(True)

    assert not leased(COURSE)
    assert delivered(COURSE) == 1


@pytest.mark.usefixtures("drainer")
def test_what_has_to_wait_for_earlier_events_goes_after_them(bridge: _Bridge) -> None:
    module.use(lambda _: None)
    write(COURSE)
    module.use(None)
    write(COURSE, OTHER)
    _until_settled(COURSE, seq=2)
    _until_settled(OTHER, seq=1)

    assert bridge.seqs(COURSE) == [1, 2]
    assert [[event["topic"] for event in post] for post in bridge.posts] == [[COURSE, COURSE, OTHER]]
    assert bridge.by_us() == [False]


@pytest.mark.usefixtures("drainer")
def test_what_is_committed_later_does_not_overtake(bridge: _Bridge) -> None:
    write(OTHER)
    _until_settled(OTHER, seq=1)
    with bridge.held() as posting:
        first = Running(lambda: write(COURSE))
        assert posting.wait(10)
        write(OTHER)
        write(THIRD, COURSE)
        assert bridge.seqs(OTHER) == [1]
    first.result()
    _until_settled(COURSE, seq=2)
    _until_settled(OTHER, seq=2)
    _until_settled(THIRD, seq=1)

    assert [[event["topic"] for event in post] for post in bridge.posts] == [[OTHER], [COURSE], [COURSE, OTHER, THIRD]]


def test_a_topic_that_someone_else_delivers_is_left_to_them(drainer: Drainer, bridge: _Bridge) -> None:
    write(COURSE)
    _until_settled(COURSE, seq=1)
    theirs = MemoryBridge()
    theirs.forget(COURSE, after=1)
    module.use(lambda _: None)
    write(COURSE)
    module.use(None)
    with theirs.held() as posting:
        other = threading.Thread(target=lambda: drainer.wake(delivery.deliver({COURSE}, theirs)))
        other.start()
        assert posting.wait(10)
        write(COURSE)
        assert bridge.seqs(COURSE) == [1]
    other.join(10)
    bridge.forget(COURSE, after=2)
    _until_settled(COURSE, seq=3)

    assert theirs.seqs(COURSE) == [2]
    assert bridge.seqs(COURSE) == [1, 3]


@pytest.mark.usefixtures("drainer")
def test_who_commits_waits_for_nobody_who_is_about_to_deliver_the_topic() -> None:
    write(COURSE)
    _until_settled(COURSE, seq=1)
    with transaction.atomic():
        DeliveryCursor.objects.select_for_update().get(topic=COURSE)
        assert Running(lambda: write(COURSE)).result() == [2]
    module.wake({COURSE})
    _until_settled(COURSE, seq=2)


@pytest.mark.usefixtures("drainer")
def test_many_events_are_the_threads(bridge: _Bridge) -> None:
    write(*[COURSE] * 51)
    _until_settled(COURSE, seq=51)

    assert bridge.by_us() == [False]


@pytest.mark.usefixtures("drainer")
def test_while_the_bridge_is_away_nobody_waits_for_it_twice(bridge: _Bridge, clock_: Clock) -> None:
    write(COURSE, OTHER)
    _until_settled(COURSE, OTHER, seq=1)
    bridge.away = True
    write(COURSE)
    until(lambda: not leased(COURSE), "the lease given back")
    module._of_this_process().finish()
    write(COURSE)
    # Otherwise its thread would be busy, and have the next one for that reason.
    module._of_this_process().finish()
    write(OTHER)
    module._of_this_process().finish()
    assert bridge.by_us() == [True, True]
    assert delivered(COURSE) == 1

    bridge.away = False
    clock_.pass_(1)
    write(COURSE)
    _until_settled(COURSE, seq=4)
    write(COURSE)
    _until_settled(COURSE, seq=5)
    assert bridge.by_us() == [True, True, False, True]
    assert bridge.seqs(COURSE) == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("drainer")
def test_an_error_nobody_thought_of_is_not_the_savers(bridge: _Bridge, clock_: Clock) -> None:
    bridge.refuse(lambda event: 1 // 0 > 0)
    assert write(COURSE) == [1]
    until(lambda: not leased(COURSE), "the lease given back")

    bridge.accept_all()
    clock_.pass_(1)
    write(COURSE)
    _until_settled(COURSE, seq=2)
    assert bridge.seqs(COURSE) == [1, 2]


@pytest.mark.usefixtures("drainer")
def test_what_is_refused_for_good_is_withheld_and_what_follows_goes_on(bridge: _Bridge) -> None:
    bridge.refuse(lambda event: event["type"] == "chapter-update-complete" and event["data"] == {"n": 0})
    write(COURSE)
    _until_settled(COURSE, seq=1)
    write(OTHER, COURSE)
    _until_settled(COURSE, seq=2)

    assert withheld() == [(COURSE, 1), (OTHER, 1)]
    assert bridge.types(COURSE) == ["event-withheld", "chapter-update-complete"]


def test_whoever_dies_before_posting_delays_the_topic_by_a_lease(drainer: Drainer, bridge: _Bridge) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drainer, "deliver", lambda *_: None)
        write(COURSE)
    assert leased(COURSE)
    assert delivery.deliver({COURSE}, bridge) == set()
    assert bridge.seqs(COURSE) == []

    let_leases_run_out()
    delivery.deliver({COURSE}, bridge)
    _until_settled(COURSE, seq=1)
    assert bridge.seqs(COURSE) == [1]


@pytest.mark.usefixtures("drainer")
def test_whatever_many_do_at_once_everything_goes_out_once_and_in_order(bridge: _Bridge) -> None:
    def writer(names: list[str]) -> None:
        for _ in range(15):
            write(*names)

    orders = [[COURSE, OTHER], [OTHER, COURSE], [COURSE, THIRD, OTHER], [THIRD, COURSE, COURSE]]
    together(*(lambda names=names: writer(names) for names in orders))
    _until_settled(COURSE, seq=75)
    _until_settled(OTHER, seq=45)
    _until_settled(THIRD, seq=30)

    assert bridge.seqs(COURSE) == list(range(1, 76))
    assert bridge.duplicates == 0


_SAVES_AND_ENDS = """
import sys
import django
django.setup()
from tests.apps.outbox.writing import COURSE, write
write(COURSE)
write(*[COURSE] * 60)
"""


def test_a_process_that_ends_at_once_has_delivered_and_gives_its_topics_back() -> None:
    database = connection.settings_dict
    url = f"postgresql://{database['USER']}@/{database['NAME']}?host={database['HOST']}&port={database['PORT']}"
    with BridgeServer().running() as server:
        env = {**os.environ, "DATABASE_URL": url, "BROADCAST_URL": server.url, "BROADCAST_SECRET": "secret"}
        done = subprocess.run(
            [sys.executable, "-c", _SAVES_AND_ENDS], env=env, cwd=procfile.PROJECT, capture_output=True, text=True
        )

    assert (done.returncode, done.stderr) == (0, "")
    assert [len(json.loads(post.body)["events"]) for post in server.posts] == [1, 60]
    assert (delivered(COURSE), leased(COURSE)) == (61, False)
