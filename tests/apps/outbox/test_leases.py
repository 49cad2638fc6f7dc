"""Two who deliver one topic: one of them does it, in order, and nothing is left lying between them."""

import threading
from collections.abc import Callable

import pytest
from django.db import transaction

from apps.outbox import delivery
from apps.outbox.models import DeliveryCursor
from tests.apps.outbox.writing import COURSE, OTHER, delivered, leased, let_leases_run_out, write
from tests.support.bridge import MemoryBridge
from tests.support.threads import Running, together, until_someone_waits_for_a_lock


@pytest.fixture
def bridge() -> MemoryBridge:
    return MemoryBridge()


def _deliver(bridge: MemoryBridge, *names: str) -> Callable[[], set[str]]:
    return lambda: delivery.deliver(set(names), bridge)


def test_many_drains_on_one_topic_keep_its_order_and_skip_nothing(bridge: MemoryBridge) -> None:
    written = threading.Event()

    def writer() -> None:
        for _ in range(40):
            write(COURSE, OTHER)
        written.set()

    def drain() -> None:
        while not written.is_set() or delivered(COURSE) < 40 or delivered(OTHER) < 40:
            delivery.deliver({COURSE, OTHER}, bridge)

    write(COURSE, OTHER)
    together(writer, drain, drain, drain)
    _deliver(bridge, COURSE, OTHER)()

    assert bridge.seqs(COURSE) == bridge.seqs(OTHER) == list(range(1, 42))
    assert bridge.duplicates == 0


def test_a_topic_that_someone_delivers_is_left_to_them(bridge: MemoryBridge) -> None:
    write(COURSE)
    with bridge.held() as posting:
        first = Running(_deliver(bridge, COURSE))
        assert posting.wait(10)
        assert leased(COURSE)
        assert delivery.deliver({COURSE}, bridge) == set()
    assert first.result() == set()
    assert len(bridge.posts) == 1


def test_whoever_finds_some_topics_taken_delivers_the_others(bridge: MemoryBridge) -> None:
    write(COURSE, OTHER)
    with bridge.held() as posting:
        first = Running(_deliver(bridge, COURSE))
        assert posting.wait(10)
        second = MemoryBridge()
        assert delivery.deliver({COURSE, OTHER}, second) == set()
    first.result()

    assert (second.seqs(COURSE), second.seqs(OTHER)) == ([], [1])
    assert (bridge.seqs(COURSE), bridge.seqs(OTHER)) == ([1], [])


def test_a_topic_that_is_locked_just_now_is_passed_over_and_not_waited_for(bridge: MemoryBridge) -> None:
    write(COURSE, OTHER)
    with transaction.atomic():
        DeliveryCursor.objects.select_for_update().get(topic=COURSE)
        assert Running(_deliver(bridge, COURSE, OTHER)).result() == set()

    assert (bridge.seqs(COURSE), bridge.seqs(OTHER)) == ([], [1])


def test_a_save_does_not_wait_for_a_delivery_that_is_under_way(bridge: MemoryBridge) -> None:
    write(COURSE)
    with bridge.held() as posting:
        first = Running(_deliver(bridge, COURSE))
        assert posting.wait(10)
        assert write(COURSE) == [2]
    first.result()


def test_whoever_delivers_looks_again_after_letting_go(bridge: MemoryBridge) -> None:
    """The one who was woken for the second event finds the topic taken and leaves: it is the first's to deliver."""
    write(COURSE)
    with bridge.held() as posting:
        first = Running(_deliver(bridge, COURSE))
        assert posting.wait(10)
        write(COURSE)
        assert delivery.deliver({COURSE}, bridge) == set()

    assert first.result() == {COURSE}
    assert delivery.deliver({COURSE}, bridge) == set()
    assert bridge.seqs(COURSE) == [1, 2]


def test_it_looks_after_letting_go_and_not_before(bridge: MemoryBridge) -> None:
    """What is committed while it is letting go is left to it by everyone else."""
    write(COURSE)
    with bridge.held() as posting:
        first = Running(_deliver(bridge, COURSE))
        assert posting.wait(10)
        with transaction.atomic():
            DeliveryCursor.objects.select_for_update().get(topic=COURSE)
            bridge.let_go()
            until_someone_waits_for_a_lock()
            Running(lambda: write(COURSE)).result()
            assert Running(_deliver(bridge, COURSE)).result() == set()

    assert first.result() == {COURSE}
    assert delivery.deliver({COURSE}, bridge) == set()
    assert bridge.seqs(COURSE) == [1, 2]


def test_a_lease_that_ran_out_is_taken_over(bridge: MemoryBridge) -> None:
    write(COURSE)
    slow = MemoryBridge()
    with slow.held() as posting:
        first = Running(_deliver(slow, COURSE))
        assert posting.wait(10)
        let_leases_run_out()
        assert delivery.deliver({COURSE}, bridge) == set()
    first.result()

    assert bridge.seqs(COURSE) == [1]
    assert delivered(COURSE) == 1


def test_whoever_lost_the_lease_cannot_move_the_cursor(bridge: MemoryBridge) -> None:
    write(COURSE, COURSE)
    slow = MemoryBridge()
    with slow.held() as posting:
        first = Running(_deliver(slow, COURSE))
        assert posting.wait(10)
        let_leases_run_out()
        delivery.deliver({COURSE}, bridge)
        DeliveryCursor.objects.filter(topic=COURSE).update(delivered_seq=1)
    assert first.result() == {COURSE}

    assert slow.seqs(COURSE) == [1, 2]
    assert delivered(COURSE) == 1


def test_whoever_lost_the_lease_does_not_release_the_one_who_has_it(bridge: MemoryBridge) -> None:
    write(COURSE)
    slow, next_ = MemoryBridge(), MemoryBridge()
    with next_.held() as next_posts:
        with slow.held() as posting:
            first = Running(_deliver(slow, COURSE))
            assert posting.wait(10)
            let_leases_run_out()
            second = Running(_deliver(next_, COURSE))
            assert next_posts.wait(10)
        first.result()
        assert leased(COURSE)
        assert delivered(COURSE) == 0
    second.result()
    assert (delivered(COURSE), leased(COURSE)) == (1, False)


def test_a_lease_lasts_longer_than_the_bridge_may_take() -> None:
    from apps.outbox import bridge as adapter

    # Once on the connection that was kept, once on a new one.
    assert delivery.LEASE_SECONDS > 2 * adapter.TIMEOUT_SECONDS


def test_a_lease_is_taken_for_seconds_and_not_for_ever(bridge: MemoryBridge) -> None:
    write(COURSE)
    with bridge.held() as posting:
        first = Running(_deliver(bridge, COURSE))
        assert posting.wait(10)
        cursor = DeliveryCursor.objects.raw(
            "SELECT * FROM outbox_deliverycursor WHERE lease_expires_at BETWEEN now() AND now() + %s * interval '1s'",
            [delivery.LEASE_SECONDS],
        )
        assert [one.topic for one in cursor] == [COURSE]
    first.result()
