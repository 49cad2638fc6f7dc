"""Events that the broadcast service will never take: their stand-in keeps their place, and the rest is delivered."""

import pytest

from apps.outbox import delivery
from apps.outbox.bridge import BridgeAway
from apps.outbox.models import OutboxEvent
from broadcast.contracts import events
from tests.apps.outbox.writing import CONTROL, COURSE, OTHER, delivered, leased, revoke, withheld, write
from tests.support.bridge import Json, MemoryBridge

UPDATED, WITHHELD = "chapter-update-complete", "event-withheld"


@pytest.fixture
def bridge() -> MemoryBridge:
    return MemoryBridge()


def _is_third_of_course(event: Json) -> bool:
    return (event["type"], event.get("topic"), event.get("seq")) == (UPDATED, COURSE, 3)


def _deliver(bridge: MemoryBridge, *names: str, rounds: int) -> set[str]:
    """Deliver some rounds; returns what is left after them."""
    left = set(names)
    for _ in range(rounds):
        left = delivery.deliver(left, bridge)
    return left


@pytest.mark.parametrize("by_index", [True, False])
def test_a_refused_event_is_withheld_in_its_place_and_the_rest_is_delivered(
    bridge: MemoryBridge, by_index: bool
) -> None:
    write(COURSE, OTHER, COURSE, OTHER, COURSE, COURSE)
    bridge.refuse(_is_third_of_course, by_index=by_index)

    assert _deliver(bridge, COURSE, OTHER, rounds=2) == set()
    assert (bridge.seqs(COURSE), bridge.seqs(OTHER)) == ([1, 2, 3, 4], [1, 2])
    assert bridge.types(COURSE) == [UPDATED, UPDATED, WITHHELD, UPDATED]
    assert bridge.types(OTHER) == [UPDATED, UPDATED]
    assert withheld() == [(COURSE, 3)]
    assert (delivered(COURSE), delivered(OTHER)) == (4, 2)


def test_the_stand_in_says_nothing_but_where_and_when_and_whose(bridge: MemoryBridge) -> None:
    write(COURSE)
    original = events.decode(OutboxEvent.objects.get().body)
    bridge.refuse(lambda event: event["type"] == UPDATED)
    _deliver(bridge, COURSE, rounds=2)

    assert bridge.taken[COURSE] == [{"topic": COURSE, **original, "type": WITHHELD, "data": {}}]
    kept = OutboxEvent.objects.get()
    assert (kept.type, kept.withheld) == (UPDATED, "told to refuse it")
    assert events.decode(kept.body) == original


def test_several_refused_events_are_withheld_one_after_the_other(bridge: MemoryBridge) -> None:
    write(*[COURSE] * 6)
    bridge.refuse(lambda event: event["type"] == UPDATED and event["seq"] % 2 == 0)

    assert _deliver(bridge, COURSE, rounds=4) == set()
    assert bridge.types(COURSE) == [UPDATED, WITHHELD] * 3
    assert bridge.seqs(COURSE) == [1, 2, 3, 4, 5, 6]


def test_an_only_event_that_is_refused_without_index_is_the_one(bridge: MemoryBridge) -> None:
    write(COURSE)
    bridge.refuse(lambda event: event["type"] == UPDATED, by_index=False)

    assert _deliver(bridge, COURSE, rounds=2) == set()
    assert bridge.types(COURSE) == [WITHHELD]


def test_looking_for_the_refused_one_stops_when_the_bridge_goes_away(bridge: MemoryBridge) -> None:
    write(COURSE, COURSE, COURSE)

    def and_goes_away(event: Json) -> bool:
        bridge.away = True
        return True

    bridge.refuse(and_goes_away, by_index=False)
    with pytest.raises(BridgeAway):
        delivery.deliver({COURSE}, bridge)
    assert len(bridge.posts) == 2
    assert withheld() == []
    assert (delivered(COURSE), leased(COURSE)) == (0, False)


def test_looking_for_the_refused_one_goes_past_topics_with_gaps(bridge: MemoryBridge) -> None:
    write(COURSE, COURSE, OTHER, OTHER)
    delivery.deliver({COURSE, OTHER}, bridge)
    bridge.forget(COURSE, after=1)
    write(COURSE, OTHER)
    bridge.refuse(lambda event: (event["type"], event["topic"], event["seq"]) == (UPDATED, OTHER, 3), by_index=False)

    assert _deliver(bridge, COURSE, OTHER, rounds=3) == set()
    assert withheld() == [(OTHER, 3)]
    assert bridge.seqs(COURSE) == [1, 2, 2, 3]
    assert bridge.types(OTHER)[-1] == WITHHELD


def test_a_batch_that_is_too_large_for_someone_on_the_way_gets_through_in_smaller_ones(bridge: MemoryBridge) -> None:
    write(*[COURSE] * 9)
    bridge.most_events = 4

    assert _deliver(bridge, COURSE, rounds=9) == set()
    assert bridge.seqs(COURSE) == list(range(1, 10))
    assert withheld() == []


def test_a_refused_stand_in_is_a_reason_to_pause_and_not_to_try_for_ever(bridge: MemoryBridge) -> None:
    write(COURSE, COURSE)
    bridge.refuse(lambda event: event["seq"] == 2)
    assert _deliver(bridge, COURSE, rounds=1) == {COURSE}

    posts = len(bridge.posts)
    with pytest.raises(BridgeAway):
        delivery.deliver({COURSE}, bridge)
    assert len(bridge.posts) == posts + 1
    assert (delivered(COURSE), leased(COURSE)) == (0, False)
    bridge.accept_all()
    assert delivery.deliver({COURSE}, bridge) == set()
    assert bridge.types(COURSE) == [UPDATED, WITHHELD]


def test_a_refused_control_message_does_not_keep_the_rest_from_being_delivered(bridge: MemoryBridge) -> None:
    revoke(None)
    revoke(COURSE)
    write(COURSE)
    bridge.refuse(lambda event: event["type"] == events.ACCESS_REVOKED and event["topic"] is None)

    assert _deliver(bridge, CONTROL, COURSE, rounds=4) == set()
    assert [message["topic"] for message in bridge.controls] == [COURSE]
    assert bridge.seqs(COURSE) == [1]


def test_a_gap_is_filled_also_when_only_small_batches_get_through(bridge: MemoryBridge) -> None:
    write(*[COURSE] * 4)
    delivery.deliver({COURSE}, bridge)
    bridge.forget(COURSE, after=1)
    write(*[COURSE] * 6)
    bridge.most_events = 4

    assert _deliver(bridge, COURSE, rounds=9) == set()
    assert bridge.seqs(COURSE)[4:] == [2, 3, 4, 5, 6, 7, 8, 9, 10]
