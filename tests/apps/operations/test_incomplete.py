"""Operations whose announced steps never come."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from apps.accounts.models import User
from apps.core import clock, errors
from apps.operations import runner, services
from apps.operations.models import Operation
from tests.apps.operations.notes import COURSE, LANE, Notes, ask, operation, outcomes
from tests.support.api import events_of
from tests.support.threads import Running, together, until_someone_waits_for_a_lock


def _idle_for(minutes: float) -> None:
    Operation.objects.update(last_request_at=clock.now() - timedelta(minutes=minutes))


def test_the_missing_steps_count_as_failed_and_it_ends(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", expect=3)
    runner.run_lane(LANE)
    _idle_for(11)
    services.end_incomplete()

    ended = operation()
    assert (ended.status, ended.succeeded, ended.failed) == ("partial", 1, 2)
    assert ended.error["code"] == "incomplete"
    assert ended.finished_at
    event = events_of(COURSE)[-1]
    assert (event["type"], event["seq"]) == ("batch-operation-complete", ended.seq)
    assert event["data"] == {
        "operationId": "op",
        "status": "partial",
        "succeeded": 1,
        "failed": 2,
        "results": [{"stepId": "1", "action": "note.write", "status": "succeeded", "noteId": "n0", "error": None}],
    }


def test_when_all_that_came_failed_it_failed(owner: User, notes: Notes) -> None:
    ask(owner, "fail", expect=2)
    runner.run_lane(LANE)
    _idle_for(11)
    services.end_incomplete()

    assert (operation().status, operation().failed) == ("failed", 2)


def test_within_ten_minutes_of_the_last_request_more_may_come(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", expect=2)
    runner.run_lane(LANE)
    _idle_for(9)
    services.end_incomplete()

    assert operation().finished_at is None


def test_each_request_gives_ten_minutes_more(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", expect=3)
    _idle_for(11)
    ask(owner, "succeed", request="2")
    runner.run_lane(LANE)
    services.end_incomplete()

    assert operation().finished_at is None


def test_how_long_they_may_take_is_a_setting(owner: User, notes: Notes, settings: Any) -> None:
    settings.OPERATION_IDLE_SECONDS = 60
    ask(owner, "succeed", expect=2)
    runner.run_lane(LANE)
    _idle_for(2)
    services.end_incomplete()

    assert operation().finished_at


def test_while_a_step_is_still_to_run_it_goes_on(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", expect=2)
    _idle_for(60)
    services.end_incomplete()

    assert operation().finished_at is None
    runner.run_lane(LANE)
    services.end_incomplete()
    assert operation().finished_at


def test_what_has_all_its_steps_is_left_to_them(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", "succeed")
    _idle_for(60)
    services.end_incomplete()
    assert operation().finished_at is None
    runner.run_lane(LANE)
    ended = operation().finished_at
    services.end_incomplete()

    assert operation().finished_at == ended
    assert len(events_of(COURSE)) == 3


def test_it_takes_nothing_more_afterwards(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", expect=2)
    runner.run_lane(LANE)
    _idle_for(11)
    services.end_incomplete()

    with pytest.raises(errors.Conflict):
        ask(owner, "succeed", request="2")
    assert outcomes() == {"1": "succeeded"}


def test_two_relays_end_it_once(owner: User, notes: Notes) -> None:
    for n in range(5):
        ask(owner, "succeed", key=f"op{n}", expect=2)
    runner.run_lane(LANE)
    _idle_for(11)
    together(*[services.end_incomplete] * 3)
    services.end_incomplete()

    ends = [event["operationId"] for event in events_of(COURSE) if event["type"] == "batch-operation-complete"]
    assert sorted(ends) == [f"op{n}" for n in range(5)]


def test_a_request_that_comes_at_the_last_moment_is_not_lost(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", expect=2)
    runner.run_lane(LANE)
    _idle_for(11)
    with transaction.atomic():
        ask(owner, "succeed", request="2")
        Running(services.end_incomplete).result()
    assert operation().finished_at is None
    runner.run_lane(LANE)

    assert (operation().status, outcomes()) == ("succeeded", {"1": "succeeded", "2": "succeeded"})


def test_a_request_that_comes_too_late_by_a_moment_is_refused(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", expect=2)
    runner.run_lane(LANE)
    _idle_for(11)
    with transaction.atomic():
        services.end_incomplete()
        late = Running(lambda: ask(owner, "succeed", request="2"))
        until_someone_waits_for_a_lock()
    with pytest.raises(errors.Conflict):
        late.result()
