"""How much of a lane one transaction and one turn take, and lanes that wait for each other."""

import threading
from collections.abc import Iterator

import pytest
from django.db import transaction

from apps.accounts.models import User
from apps.core import sql
from apps.operations import lanes, runner, submit
from apps.operations.models import StepStatus
from apps.operations.pace import Pace
from tests.apps.operations.notes import LANE, OTHER_LANE, Notes, ask, operation
from tests.support.api import events_of
from tests.support.threads import PATIENCE_SECONDS, Running


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


def _one_behind_another(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", key="needed", request="needed", lane=OTHER_LANE)
    ask(owner, "succeed", key="needing", request="needing")

    def need(keys: list[str]) -> None:
        if "needing" in keys and operation("needed").steps.get().status == StepStatus.PENDING:
            raise lanes.Behind(OTHER_LANE)

    notes.meanwhile = need


def test_a_lane_that_is_behind_another_has_that_run_first(owner: User, notes: Notes) -> None:
    _one_behind_another(owner, notes)
    runner.run_lane(LANE)

    assert len(notes.runs) == 3, "tried, the other one, and again"
    assert (operation("needed").status, operation("needing").status) == ("succeeded", "succeeded")


def test_a_lane_that_is_behind_one_that_somebody_keeps_is_left_until_they_let_go(owner: User, notes: Notes) -> None:
    _one_behind_another(owner, notes)
    is_kept, may_end = threading.Event(), threading.Event()

    @transaction.atomic
    def keep() -> None:
        sql.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [OTHER_LANE])
        is_kept.set()
        may_end.wait(PATIENCE_SECONDS)

    keeper = Running(keep)
    assert is_kept.wait(PATIENCE_SECONDS)
    assert runner.run_lane(LANE) is False
    assert not keeper.ended and operation("needing").finished_at is None

    may_end.set()
    keeper.result()
    runner.run_lane(LANE)
    assert (operation("needed").status, operation("needing").status) == ("succeeded", "succeeded")


def test_whoever_waited_for_a_lane_may_wait_for_rows_as_long_as_others(owner: User, notes: Notes) -> None:
    _one_behind_another(owner, notes)
    need, limits = notes.meanwhile, []

    def look(keys: list[str]) -> None:
        limits.extend(sql.rows("SELECT current_setting('lock_timeout')", []))
        need(keys)

    notes.meanwhile = look
    runner.run_lane(LANE)
    assert limits == [("0",)] * 3
