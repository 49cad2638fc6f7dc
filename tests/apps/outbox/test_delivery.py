"""Carrying a topic's events to the broadcast service: in order, all of them, and again where it lost some."""

from collections.abc import Sequence

import pytest

from apps.core import clock
from apps.outbox import delivery, emit
from apps.outbox.bridge import BridgeAway, Gaps, Outgoing
from apps.outbox.models import DeliveryCursor, OutboxEvent
from broadcast.contracts import events
from tests.apps.outbox.writing import CONTROL, COURSE, OTHER, THIRD, delivered, draft, leased, revoke, withheld, write
from tests.support.bridge import MemoryBridge


@pytest.fixture
def bridge() -> MemoryBridge:
    return MemoryBridge()


def _deliver_all(bridge: MemoryBridge, *names: str, at_most: int = 20) -> int:
    """Deliver as the drainer does, until nothing is left; returns how many rounds that took."""
    left = set(names)
    for rounds in range(at_most):
        if not left:
            return rounds
        left = delivery.deliver(left, bridge)
    raise AssertionError(f"{left} never get delivered")


def test_many_topics_go_in_one_post_each_in_its_order(bridge: MemoryBridge) -> None:
    write(COURSE, OTHER, COURSE)
    write(OTHER, COURSE)

    assert delivery.deliver({COURSE, OTHER}, bridge) == set()
    assert len(bridge.posts) == 1
    assert (bridge.seqs(COURSE), bridge.seqs(OTHER)) == ([1, 2, 3], [1, 2])
    assert (delivered(COURSE), delivered(OTHER)) == (3, 2)
    assert not leased(COURSE)


def test_an_event_arrives_as_it_was_written_with_its_topic(bridge: MemoryBridge) -> None:
    write(COURSE)
    delivery.deliver({COURSE}, bridge)

    (event,) = bridge.taken[COURSE]
    assert event.pop("topic") == COURSE
    assert event == events.decode(OutboxEvent.objects.get().body)


def test_what_was_delivered_is_not_posted_again(bridge: MemoryBridge) -> None:
    write(COURSE)
    delivery.deliver({COURSE}, bridge)
    delivery.deliver({COURSE}, bridge)
    write(COURSE)
    delivery.deliver({COURSE}, bridge)

    assert [[event["seq"] for event in post] for post in bridge.posts] == [[1], [2]]


def test_a_topic_that_nobody_wrote_to_is_nothing_to_do(bridge: MemoryBridge) -> None:
    assert delivery.deliver({COURSE}, bridge) == set()
    assert delivery.deliver(set(), bridge) == set()
    assert bridge.posts == []


def test_a_post_holds_500_events_of_a_topic_and_1000_in_all_and_what_is_left_is_said(bridge: MemoryBridge) -> None:
    write(*[COURSE] * 600, *[OTHER] * 600, *[THIRD] * 10)

    assert delivery.deliver({COURSE, OTHER, THIRD}, bridge) == {COURSE, OTHER}
    assert (delivered(COURSE), delivered(OTHER), delivered(THIRD)) == (495, 495, 10)
    assert delivery.deliver({COURSE, OTHER, THIRD}, bridge) == set()
    assert bridge.seqs(COURSE) == bridge.seqs(OTHER) == list(range(1, 601))
    assert [len(post) for post in bridge.posts] == [1000, 210]


def test_no_topic_is_claimed_without_being_released_however_much_there_is(bridge: MemoryBridge) -> None:
    write(*[COURSE] * 1100, *[OTHER] * 1100, *[THIRD] * 1100)

    while delivery.deliver({COURSE, OTHER, THIRD}, bridge):
        assert not DeliveryCursor.objects.exclude(lease_token=None).exists()
    assert bridge.seqs(COURSE) == bridge.seqs(OTHER) == bridge.seqs(THIRD) == list(range(1, 1101))


@pytest.mark.parametrize("text", ["x" * 60_000, "ü" * 30_000])
def test_a_post_stays_below_the_bridges_4_mib(bridge: MemoryBridge, text: str) -> None:
    emit.emit([draft(COURSE, text=text) for _ in range(80)], now=clock.now())

    assert _deliver_all(bridge, COURSE) == 2
    assert bridge.seqs(COURSE) == list(range(1, 81))
    assert bridge.types(COURSE) == ["chapter-update-complete"] * 80


def test_while_it_is_away_all_stays_as_it_was(bridge: MemoryBridge) -> None:
    write(COURSE)
    delivery.deliver({COURSE}, bridge)
    write(COURSE, OTHER)
    bridge.away = True

    with pytest.raises(BridgeAway):
        delivery.deliver({COURSE, OTHER}, bridge)
    assert (delivered(COURSE), delivered(OTHER)) == (1, 0)
    assert not leased(COURSE) and not leased(OTHER)
    assert withheld() == []
    bridge.away = False
    assert delivery.deliver({COURSE, OTHER}, bridge) == set()
    assert (bridge.seqs(COURSE), bridge.seqs(OTHER)) == ([1, 2], [1])


def test_an_unexpected_error_releases_the_topics_too(bridge: MemoryBridge) -> None:
    write(COURSE)
    bridge.refuse(lambda event: 1 // 0 > 0)

    with pytest.raises(ZeroDivisionError):
        delivery.deliver({COURSE}, bridge)
    assert (delivered(COURSE), leased(COURSE)) == (0, False)


def test_a_gap_has_the_topic_posted_again_from_where_it_begins(bridge: MemoryBridge) -> None:
    write(COURSE, COURSE, COURSE, OTHER)
    delivery.deliver({COURSE, OTHER}, bridge)
    bridge.forget(COURSE, after=1)
    write(COURSE, OTHER)

    assert delivery.deliver({COURSE, OTHER}, bridge) == {COURSE, OTHER}
    assert (delivered(COURSE), delivered(OTHER)) == (1, 1)
    assert delivery.deliver({COURSE, OTHER}, bridge) == set()
    assert bridge.seqs(COURSE) == [1, 2, 3, 2, 3, 4]
    assert bridge.seqs(OTHER) == [1, 2]
    assert (delivered(COURSE), delivered(OTHER)) == (4, 2)


class _Insists:
    """A bridge that sees gaps where there are none."""

    def __init__(self, expected: dict[str, int]) -> None:
        self._expected = expected

    def post(self, batch: Sequence[Outgoing]) -> None:
        raise Gaps(self._expected)


@pytest.mark.parametrize(
    "expected", [{COURSE: 0}, {COURSE: -5}, {COURSE: 2}, {COURSE: 4}, {COURSE: 99}, {OTHER: 1}, {}]
)
def test_a_gap_that_cannot_be_is_a_reason_to_pause_and_skips_nothing(
    bridge: MemoryBridge, expected: dict[str, int]
) -> None:
    write(COURSE)
    delivery.deliver({COURSE}, bridge)
    write(COURSE, COURSE)

    with pytest.raises(BridgeAway):
        delivery.deliver({COURSE}, _Insists(expected))
    assert (delivered(COURSE), leased(COURSE)) == (1, False)


def test_a_topic_of_which_all_is_forgotten_goes_on_from_where_it_is(bridge: MemoryBridge) -> None:
    write(COURSE, COURSE)
    delivery.deliver({COURSE}, bridge)
    bridge.forget(COURSE)
    write(COURSE)

    assert _deliver_all(bridge, COURSE) == 1
    assert bridge.seqs(COURSE) == [1, 2, 3]


def test_events_that_are_no_longer_kept_are_stood_in_for(bridge: MemoryBridge) -> None:
    write(*[COURSE] * 5)
    delivery.deliver({COURSE}, bridge)
    OutboxEvent.objects.filter(seq__in=[1, 2, 3, 4]).delete()
    bridge.forget(COURSE, after=2)
    write(COURSE)

    assert _deliver_all(bridge, COURSE) == 2
    assert bridge.seqs(COURSE)[5:] == [3, 4, 5, 6]
    assert bridge.types(COURSE)[5:] == [*["event-withheld"] * 2, *["chapter-update-complete"] * 2]
    assert bridge.taken[COURSE][5] == {
        "topic": COURSE,
        "type": "event-withheld",
        "courseId": COURSE.partition(":")[2],
        "seq": 3,
        "timestamp": 0,
        "data": {},
    }


def test_very_many_that_are_no_longer_kept_are_stood_in_for_batch_by_batch(bridge: MemoryBridge) -> None:
    write(*[COURSE] * 3)
    delivery.deliver({COURSE}, bridge)
    write(*[COURSE] * 2_400)
    OutboxEvent.objects.filter(seq__lt=2_402).delete()

    assert _deliver_all(bridge, COURSE) == 3
    assert bridge.seqs(COURSE) == list(range(1, 2_404))
    assert bridge.types(COURSE)[-3:] == ["event-withheld", *["chapter-update-complete"] * 2]


def test_control_messages_are_posted_flat_and_in_order(bridge: MemoryBridge) -> None:
    revoke(COURSE)
    revoke(None)
    write(COURSE)

    assert delivery.deliver({CONTROL, COURSE}, bridge) == set()
    assert [message["topic"] for message in bridge.controls] == [COURSE, None]
    assert [set(message) for message in bridge.controls] == [{"type", "userId", "topic", "before"}] * 2
    assert delivered(CONTROL) == 2
    assert bridge.seqs(COURSE) == [1]


def test_control_messages_that_are_no_longer_kept_are_passed_over(bridge: MemoryBridge) -> None:
    for topic in (COURSE, OTHER, None):
        revoke(topic)
    OutboxEvent.objects.filter(seq=1).delete()

    assert delivery.deliver({CONTROL}, bridge) == set()
    assert [message["topic"] for message in bridge.controls] == [OTHER, None]
