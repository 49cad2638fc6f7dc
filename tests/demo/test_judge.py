"""Each way in which events can go wrong is found, and named."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from demo import judge
from demo.changes import Expected
from demo.client import Json
from demo.stage import Intention
from demo.tab import Hearing, Tab

COURSE, OTHER = "course:1", "course:2"


@dataclass
class Screen:
    """A tab as the judge sees it."""

    events: list[Json]
    hearings: dict[str, Hearing] = field(default_factory=lambda: {COURSE: Hearing(after=0)})
    frames: list[Json] = field(default_factory=lambda: [{"type": "welcome"}, {"type": "heartbeat"}])
    name: str = "tab"


def event(seq: int, operation_id: str = "", course: str = "1", **data: object) -> Json:
    envelope = {"type": "chapter-update-complete", "courseId": course, "operationId": operation_id or f"op-{seq}"}
    return {**envelope, "seq": seq, "timestamp": 5, "data": {"newTitle": f"T{seq}", **data}}


COMMITTED = [event(1), event(2), event(3)]


def intention(seq: int, *expected: str) -> Intention:
    wanted = [Expected(COURSE, "chapter-update-complete", {"newTitle": title}) for title in expected or (f"T{seq}",)]
    return Intention("B1", f"op-{seq}", 0.0, wanted)


ASKED = [intention(1), intention(2), intention(3)]


def complaints(
    screen: Screen, *, asked: list[Intention] = ASKED, committed: list[Json] = COMMITTED, **topics: list[Json]
) -> list[str]:
    tabs = [cast(Tab, screen)]
    return list(judge.disagreements(asked, {COURSE: committed, **topics}, tabs))


def test_nothing_is_wrong_when_three_accounts_agree() -> None:
    assert complaints(Screen(list(COMMITTED))) == []


@pytest.mark.parametrize(
    ("came", "complaint"),
    [
        ([1, 3], "events [2] are missing"),
        ([1, 2, 2, 3], "events [2] came more than once"),
        ([1, 3, 2], "came out of order: [1, 3, 2]"),
        ([1, 2, 3, 4], "events [4] should not have come"),
    ],
)
def test_what_came_to_a_screen_is_compared_with_what_was_committed(came: list[int], complaint: str) -> None:
    found = complaints(Screen([event(seq) for seq in came]))

    assert any(complaint in line for line in found), found


def test_an_event_that_differs_from_what_was_committed_is_found() -> None:
    found = complaints(Screen([event(1), event(2, version=9), event(3)]))

    assert found == ["tab, course:1: events [2] are not what was committed."]


def test_an_event_of_a_topic_without_a_right_to_it_is_found() -> None:
    found = complaints(Screen([*COMMITTED, event(1, course="2")]))

    assert found == ["tab: has no right to course:2, and saw 1 events of it."]


def test_a_screen_owes_nothing_from_before_it_listened() -> None:
    assert complaints(Screen([event(3)], {COURSE: Hearing(after=2)})) == []


@pytest.mark.parametrize("came", [[1], [1, 2]])
def test_the_event_that_withdraws_a_right_may_be_heard_or_not(came: list[int]) -> None:
    assert complaints(Screen([event(seq) for seq in came], {COURSE: Hearing(0, until=2)})) == []


def test_an_event_after_a_right_was_withdrawn_is_found() -> None:
    found = complaints(Screen([event(1), event(3)], {COURSE: Hearing(0, until=2)}))

    assert found == ["tab, course:1: events [3] should not have come."]


def test_an_operation_that_led_to_fewer_other_or_more_events_than_asked_for_is_found() -> None:
    for wrong in (intention(2, "T2", "T2"), intention(2, "U"), Intention("B1", "op-2", 0.0, [])):
        found = complaints(Screen(list(COMMITTED)), asked=[intention(1), wrong, intention(3)])
        assert len(found) == 1, found
        assert found[0].startswith("op-2 on course:1: ")


def test_a_second_end_of_a_batch_is_found() -> None:
    end = {"type": "batch-operation-complete", "courseId": "1", "operationId": "op-1", "seq": 2, "data": {}}
    committed = [event(1), end, {**end, "seq": 3}]
    asked = intention(1)
    asked.expected.append(Expected(COURSE, "batch-operation-complete"))

    found = complaints(Screen(committed), asked=[asked], committed=committed)

    assert len(found) == 1, found


def test_events_that_nobody_asked_for_are_found() -> None:
    found = complaints(Screen(list(COMMITTED)), asked=ASKED[:2])

    assert found == ["course:1: events of op-3, which nobody here asked for."]


def test_a_gap_in_what_was_committed_is_found() -> None:
    committed = [event(1), event(3)]

    found = complaints(Screen(committed), asked=[intention(1), intention(3)], committed=committed)

    assert "course:1: its committed events are numbered [1, 3]." in found


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "resync", "topic": COURSE, "seq": 3, "reason": "history_lost"},
        {"type": "error", "code": "unavailable", "message": ""},
        {"type": "unsubscribed", "topic": COURSE, "code": "access_withdrawn"},
        {"type": "subscribed", "topic": COURSE, "seq": 3, "recovered": False, "replayed": 0},
    ],
)
def test_what_the_broadcast_service_complains_of_is_passed_on(frame: dict[str, Any]) -> None:
    found = complaints(Screen(list(COMMITTED), frames=[frame]))

    assert len(found) == 1, found


def test_an_outsider_who_sees_anything_or_is_not_refused_is_found() -> None:
    refusal = {"type": "error", "code": "permission_denied"}

    assert list(judge.outsider(cast(Tab, Screen([], frames=[refusal])))) == []
    assert len(list(judge.outsider(cast(Tab, Screen([event(1)], frames=[refusal]))))) == 1
    assert len(list(judge.outsider(cast(Tab, Screen([]))))) == 1
