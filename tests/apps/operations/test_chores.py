"""What is forgotten after a while, and what operators see of the backlog."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import User
from apps.core import clock
from apps.operations import runner, services
from apps.operations.models import Operation, Request, Step
from apps.outbox import relay
from tests.apps.operations.notes import LANE, OTHER_LANE, Notes, ask


def _ended_days_ago(key: str, days: float) -> None:
    Operation.objects.filter(key=key).update(finished_at=clock.now() - timedelta(days=days))


def _kept() -> set[str]:
    return set(Operation.objects.values_list("key", flat=True))


# Forgetting


def test_what_ended_over_thirty_days_ago_is_forgotten_whole(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", "fail", key="old")
    ask(owner, "succeed", key="young")
    runner.run_lane(LANE)
    _ended_days_ago("old", 31)
    _ended_days_ago("young", 29)
    services.forget_old()

    assert _kept() == {"young"}
    assert (Step.objects.count(), Request.objects.count()) == (1, 1)


def test_what_has_not_ended_is_kept_however_old(owner: User, notes: Notes) -> None:
    ask(owner, "succeed")
    long_ago = clock.now() - timedelta(days=90)
    Operation.objects.update(created_at=long_ago, last_request_at=long_ago)
    services.forget_old()

    assert _kept() == {"op"}


def test_how_long_they_are_kept_is_a_setting(owner: User, notes: Notes, settings: Any) -> None:
    settings.OPERATION_KEPT_DAYS = 1
    ask(owner, "succeed")
    runner.run_lane(LANE)
    _ended_days_ago("op", 2)
    services.forget_old()

    assert _kept() == set()


def test_it_goes_on_until_all_that_is_old_is_gone(owner: User, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_AT_ONCE", 2)
    for n in range(5):
        ask(owner, "succeed", key=f"op{n}")
    runner.run_lane(LANE)
    Operation.objects.update(finished_at=clock.now() - timedelta(days=31))
    services.forget_old()

    assert _kept() == set()


# The relay's list


def test_the_relay_has_the_chores_of_the_outbox_and_of_operations() -> None:
    chores = {chore.name: chore.every_seconds for chore in (make() for make in relay._chores)}

    expected = {
        "deliver": 0.5,
        "prune-events": 3600,
        "run-left-steps": 0.5,
        "end-incomplete": 5.0,
        "forget-operations": 3600,
    }
    assert {name: chores[name] for name in chores.keys() & expected.keys()} == expected


def test_a_short_patience_is_checked_often_enough(settings: Any) -> None:
    settings.OPERATION_IDLE_SECONDS = 2
    (chore,) = [made for made in (make() for make in relay._chores) if made.name == "end-incomplete"]

    assert chore.every_seconds == 0.5


# Metrics


def _metrics() -> dict[str, float]:
    lines = Client().get("/metrics").content.decode().splitlines()
    names = ("coursehub_steps", "coursehub_operations")
    return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith(names)}


def test_without_work_there_is_no_backlog(owner: User, notes: Notes) -> None:
    ask(owner, "succeed")
    runner.run_lane(LANE)

    assert _metrics() == {
        "coursehub_steps_pending": 0,
        "coursehub_steps_oldest_pending_seconds": 0,
        "coursehub_operations_unfinished": 0,
    }


def test_the_backlog_counts_steps_and_operations_and_the_age_of_the_oldest(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", "succeed", key="a")
    ask(owner, "succeed", key="b", lane=OTHER_LANE)
    ask(owner, "succeed", key="done", lane="note:3")
    ask(owner, "succeed", key="half", lane="note:3", expect=2)
    runner.run_lane("note:3")
    Step.objects.filter(operation__key="a").update(created_at=clock.now() - timedelta(minutes=5))

    backlog = _metrics()
    assert (backlog["coursehub_steps_pending"], backlog["coursehub_operations_unfinished"]) == (3, 3)
    assert 300 <= backlog["coursehub_steps_oldest_pending_seconds"] < 400
