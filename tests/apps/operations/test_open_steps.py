"""A step that its lane has begun runs on until its owner ends it."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import pytest
from django.db import transaction

from apps.accounts.models import User
from apps.core import clock, errors
from apps.operations import lifecycle, open_steps, runner, services, submit
from apps.operations.errors import Cancelled
from apps.operations.lanes import Outcome
from apps.operations.models import Operation, Step, StepStatus
from apps.outbox.emit import Draft
from tests.apps.operations.notes import COURSE, LANE, Notes, ask, operation, outcomes
from tests.support.api import ApiClient, events_of
from tests.support.threads import together


class Keeper:
    """Owns the notes' open steps; ``keeps`` those that it does not let go of, ``spoilt`` those that no one can redo."""

    def __init__(self) -> None:
        self.keeps: set[str] = set()
        self.spoilt: set[str] = set()
        self.redone: list[str] = []
        self.let_go: list[str] = []

    def cancelled(self, steps: Sequence[Step], now: datetime) -> list[Outcome]:
        self.let_go += [step.key for step in steps]
        let_go = [step for step in steps if step.status == StepStatus.RUNNING and step.key not in self.keeps]
        locked = open_steps.lock(step.pk for step in let_go)
        return [Outcome(step, step.topic, data={"status": "error"}, error=Cancelled().as_dict()) for step in locked]

    def retried(self, steps: Sequence[Step], now: datetime) -> list[Step]:
        self.redone += [step.key for step in steps if step.key not in self.spoilt]
        return [step for step in steps if step.key in self.spoilt]


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    keeper = Keeper()
    open_steps.register("note.write", keeper)
    yield keeper
    open_steps._owners.pop("note.write")


def end(key: str, *, error: errors.CourseHubError | None = None) -> int:
    """End a step as its owner would; returns how many ended."""
    with transaction.atomic():
        steps = open_steps.lock(Step.objects.filter(key=key).values_list("pk", flat=True))
        now = clock.now()
        done = [
            Outcome(
                step,
                step.topic,
                data={"ended": True},
                drafts=[Draft("note-complete", step.topic, step.operation.key, {"stepId": step.key})],
                error=error.as_dict() if error else None,
            )
            for step in steps
        ]
        lifecycle.conclude(done, now=now)
        return len(steps)


def types() -> list[str]:
    return [event["type"] for event in events_of(COURSE)]


def test_a_step_that_was_begun_runs_on_and_its_beginning_is_told(owner: User, notes: Notes) -> None:
    ask(owner, "open")
    runner.run_lane(LANE)

    step = Step.objects.get()
    assert (step.status, step.data, step.finished_at) == ("running", {"begun": True}, None)
    assert (operation().status, operation().ended) == ("running", 0)
    assert types() == ["note-create-complete"]


def test_it_holds_up_no_other_step_of_its_lane_and_is_run_once(owner: User, notes: Notes) -> None:
    ask(owner, "open", key="long")
    runner.run_lane(LANE)
    ask(owner, "succeed", key="short")
    runner.run_lane(LANE)

    assert operation("short").status == "succeeded"
    assert notes.runs == [["1"], ["1"]]
    assert operation("long").status == "running"


def test_its_end_ends_the_operation_with_the_others(owner: User, notes: Notes) -> None:
    ask(owner, "open", "succeed", "open")
    runner.run_lane(LANE)
    end("1.0")
    assert operation().status == "running" and "batch-operation-complete" not in types()
    end("1.2", error=errors.Conflict("No."))

    assert outcomes() == {"1.0": "succeeded", "1.1": "succeeded", "1.2": "conflict"}
    assert operation().status == "partial"
    assert types()[-2:] == ["operation-failed", "batch-operation-complete"]
    assert types().count("batch-operation-complete") == 1


def test_it_ends_once_whoever_ends_it(owner: User, notes: Notes) -> None:
    ask(owner, "open")
    runner.run_lane(LANE)
    ended: list[int] = []
    together(*[lambda: ended.append(end("1"))] * 4)

    assert sorted(ended) == [0, 0, 0, 1]
    assert operation().succeeded == 1
    assert types() == ["note-create-complete", "note-complete"]


def test_a_failure_says_what_its_owner_adds(owner: User, notes: Notes) -> None:
    ask(owner, "open")
    runner.run_lane(LANE)
    end("1", error=errors.Gone("It is deleted."))

    failed = events_of(COURSE)[-1]
    assert failed["type"] == "operation-failed"
    assert failed["data"] | {"error": None} == {
        "stepId": "1", "action": "note.write", "noteId": "n0", "ended": True, "error": None,
    }  # fmt: skip


def test_its_progress_is_the_operations(api: ApiClient, owner: User, notes: Notes) -> None:
    ask(owner, "open", "succeed")
    runner.run_lane(LANE)
    step = Step.objects.get(key="1.0")
    assert api.get("operations/op/").data["progress"] == 50
    open_steps.note_progress(step.pk, 40)
    open_steps.note_progress(step.pk, 30)

    assert api.get("operations/op/").data["progress"] == 70
    assert [shown["status"] for shown in api.get("operations/op/").data["steps"]] == ["running", "succeeded"]
    end("1.0")
    assert api.get("operations/op/").data["progress"] == 100


# Operations whose steps have not all come


def test_an_operation_with_a_running_step_is_not_given_up(owner: User, notes: Notes) -> None:
    ask(owner, "open", expect=2)
    runner.run_lane(LANE)
    Operation.objects.update(last_request_at=clock.now() - timedelta(days=1))
    services.end_incomplete()

    assert operation().finished_at is None


def test_the_missing_steps_have_their_whole_time_from_its_end(owner: User, notes: Notes) -> None:
    ask(owner, "open", expect=2)
    runner.run_lane(LANE)
    Operation.objects.update(last_request_at=clock.now() - timedelta(days=1))
    end("1")
    services.end_incomplete()
    assert operation().finished_at is None

    ask(owner, "succeed", request="2", expect=2)
    runner.run_lane(LANE)
    assert operation().status == "succeeded"


# Cancelling


def test_cancelling_ends_what_its_owner_lets_go_of_and_tells_it(owner: User, notes: Notes, keeper: Keeper) -> None:
    ask(owner, "open", "open")
    runner.run_lane(LANE)
    services.cancel(operation().pk)

    assert outcomes() == {"1.0": "cancelled", "1.1": "cancelled"}
    assert (operation().status, operation().failed) == ("cancelled", 2)
    assert types()[2:] == ["operation-failed", "operation-failed", "batch-operation-complete"]


def test_its_owner_is_told_of_those_that_will_not_begin(owner: User, notes: Notes, keeper: Keeper) -> None:
    ask(owner, "open", request="a", expect=2)
    runner.run_lane(LANE)
    ask(owner, "open", request="b", expect=2)
    services.cancel(operation().pk)

    assert sorted(keeper.let_go) == ["a", "b"]
    assert outcomes() == {"a": "cancelled", "b": "cancelled"}
    assert (operation().status, operation().failed) == ("cancelled", 2)
    assert types() == ["note-create-complete", "operation-failed", "batch-operation-complete"]


def test_what_has_ended_since_stays_as_it_ended(owner: User, notes: Notes, keeper: Keeper) -> None:
    ask(owner, "open", "open")
    runner.run_lane(LANE)
    end("1.0")
    services.cancel(operation().pk)

    assert outcomes() == {"1.0": "succeeded", "1.1": "cancelled"}
    assert (operation().status, operation().succeeded, operation().failed) == ("cancelled", 1, 1)


@pytest.mark.parametrize("turn", range(5))
def test_cancelling_and_ending_at_the_same_time_end_it_once(
    owner: User, notes: Notes, keeper: Keeper, turn: int
) -> None:
    ask(owner, "open")
    runner.run_lane(LANE)

    def cancel() -> None:
        with contextlib.suppress(errors.Conflict):  # it has ended
            services.cancel(operation().pk)

    together(cancel, lambda: end("1"))
    assert operation().ended == 1
    assert len([type_ for type_ in types() if type_ != "note-create-complete"]) == 1


# Retrying


def test_its_owner_makes_a_failed_one_ready_to_be_done_again(owner: User, notes: Notes, keeper: Keeper) -> None:
    ask(owner, "open", "fail")
    runner.run_lane(LANE)
    end("1.0", error=errors.Conflict("No."))
    again = _retry(owner)

    assert keeper.redone == ["1.0", "1.1"]
    assert again.steps.count() == 2


def test_what_cannot_be_done_again_is_left_out(owner: User, notes: Notes, keeper: Keeper) -> None:
    ask(owner, "open", "open", "fail")
    runner.run_lane(LANE)
    for key in ("1.0", "1.1"):
        end(key, error=errors.Conflict("No."))
    keeper.spoilt = {"1.0"}
    again = _retry(owner)

    assert keeper.redone == ["1.1", "1.2"]
    assert [step.key for step in again.steps.order_by("id")] == ["1.1", "1.2"] and again.expected == 2


def test_a_retry_of_which_nothing_is_left_is_refused(owner: User, notes: Notes, keeper: Keeper) -> None:
    ask(owner, "open", "open")
    runner.run_lane(LANE)
    for key in ("1.0", "1.1"):
        end(key, error=errors.Conflict("No."))
    keeper.spoilt = {"1.0", "1.1"}
    with pytest.raises(errors.Conflict, match="again"):
        _retry(owner)

    assert Operation.objects.count() == 1


def _retry(owner: User) -> Operation:
    services.retry(operation(), owner, submit.Identity("again"), "digest")
    return operation("again")
