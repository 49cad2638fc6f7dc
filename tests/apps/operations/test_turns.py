"""How much of a lane one transaction and one turn take, and lanes that wait for each other."""

from collections.abc import Iterator

import pytest

from apps.accounts.models import User
from apps.operations import lanes, runner, submit
from apps.operations.models import StepStatus
from apps.operations.pace import Pace
from tests.apps.operations.notes import LANE, OTHER_LANE, Notes, ask, operation, outcomes
from tests.support.api import events_of


def test_a_handler_says_how_many_steps_one_transaction_takes(owner: User, notes: Notes) -> None:
    notes.pace = Pace(most=2)  # type: ignore[attr-defined]
    ask(owner, *["succeed"] * 5)
    assert runner.run_lane(LANE) is False

    assert [len(keys) for keys in notes.runs] == [2, 2, 1]
    assert operation().status == "succeeded"


def test_a_lane_is_left_when_its_time_is_over_and_says_that_there_is_more(owner: User, notes: Notes) -> None:
    notes.pace = Pace(most=2)  # type: ignore[attr-defined]
    ask(owner, *["succeed"] * 5)
    assert runner.run_lane(LANE, for_seconds=0) is True
    assert [len(keys) for keys in notes.runs] == [2]

    assert runner.run_lane(LANE, for_seconds=60) is False
    assert operation().status == "succeeded"
    assert runner.run_lane(LANE, for_seconds=0) is False, "nothing is left"


@pytest.fixture
def batch_kind() -> Iterator[None]:
    submit.BATCH_KINDS.add("note.write")
    yield
    submit.BATCH_KINDS.discard("note.write")


def test_operations_of_some_kinds_end_with_an_event_even_when_retried_with_one_step(
    owner: User, notes: Notes, batch_kind: None
) -> None:
    from apps.operations import services
    from apps.operations.submit import Identity

    ask(owner, "succeed", "fail", key="first")
    runner.run_lane(LANE)
    services.retry(operation("first"), owner, Identity(operation_key="again"), "digest")
    runner.run_lane(LANE)

    ends = [
        event["operationId"]
        for event in events_of(operation("first").topic)
        if event["type"] == "batch-operation-complete"
    ]
    assert ends == ["first", "again"]


def test_a_lane_that_is_behind_another_has_that_run_first(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", key="needed", lane=OTHER_LANE)
    ask(owner, "succeed", key="needing")

    def need(keys: list[str]) -> None:
        step = operation("needed").steps.get()
        if step.status == StepStatus.PENDING and len(notes.runs) == 1:
            raise lanes.Behind(OTHER_LANE)

    notes.meanwhile = need
    runner.run_lane(LANE)

    assert len(notes.runs) == 3, "tried, the other one, and again"
    assert outcomes("needed") == outcomes("needing")
    assert operation("needing").status == "succeeded"
