"""Cancelling: what has not begun is not done; what has is waited for, and counts."""

import threading
from contextlib import suppress

import pytest
from django.db import transaction

from apps.accounts.models import User
from apps.core import errors
from apps.operations import runner, services
from apps.operations.models import Operation
from tests.apps.operations.notes import COURSE, LANE, OTHER_LANE, Notes, ask, operation, outcomes, own_topic
from tests.support.api import ApiClient, events_of
from tests.support.threads import Running, together, until_someone_waits_for_a_lock


def _types() -> list[str]:
    return [event["type"] for event in events_of(COURSE)]


def test_what_has_not_begun_is_not_done(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed", "succeed")
    answer = api.post("operations/op/cancel/")
    runner.run_lane(LANE)

    assert answer.status == 202
    assert (answer.body["operationId"], answer.data) == ("op", {})
    assert answer.headers["Operation-Location"] == "/api/v1/operations/op/"
    assert notes.runs == []
    shown = api.get("operations/op/").data
    assert (shown["status"], shown["succeeded"], shown["failed"], shown["progress"]) == ("cancelled", 0, 2, 100)
    assert shown["error"]["code"] == "cancelled"
    assert outcomes() == {"1.0": "cancelled", "1.1": "cancelled"}


def test_only_the_end_is_told(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed", "succeed")
    api.post("operations/op/cancel/")

    (event,) = events_of(COURSE)
    assert event["type"] == "batch-operation-complete"
    assert (event["data"]["status"], event["data"]["failed"]) == ("cancelled", 2)
    assert [result["error"]["code"] for result in event["data"]["results"]] == ["cancelled", "cancelled"]
    assert operation().seq == event["seq"] == 1


def test_who_cancels_what_never_came_to_be_is_told_so_and_nobody_else(api: ApiClient, owner: User) -> None:
    course = api.post("courses/", {"title": "Never", "operationId": "op", "expect": 2, "stepId": "a"}).data["courseId"]
    api.post(f"courses/{course}/chapters/", {"title": "Nor this", "operationId": "op", "stepId": "b"})
    api.post("operations/op/cancel/")

    assert [event["type"] for event in events_of(own_topic(owner))] == ["batch-operation-complete"]
    assert events_of(course) == []


def test_a_single_step_is_cancelled_without_a_word(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed")
    api.post("operations/op/cancel/")

    assert events_of(COURSE) == []
    assert (operation().status, operation().seq) == ("cancelled", None)


def test_what_is_done_stays_done(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed", request="a", expect=3)
    runner.run_lane(LANE)
    ask(api.user, "succeed", request="b", lane=OTHER_LANE)
    api.post("operations/op/cancel/")

    cancelled = operation()
    assert (cancelled.status, cancelled.succeeded, cancelled.failed) == ("cancelled", 1, 2)
    assert outcomes() == {"a": "succeeded", "b": "cancelled"}
    assert _types() == ["note-complete", "batch-operation-complete"]


def test_a_cancelled_operation_takes_no_more_steps(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed", expect=2)
    api.post("operations/op/cancel/")

    with pytest.raises(errors.Conflict):
        ask(api.user, "succeed", request="2")


def test_other_operations_in_the_lane_go_on(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", key="before", request="before")
    ask(owner, "succeed")
    ask(owner, "succeed", key="after", request="after")
    services.cancel(operation().pk)
    runner.run_lane(LANE)

    assert notes.runs == [["before", "after"]]


@pytest.mark.parametrize("does", ["succeed", "fail"])
def test_an_ended_operation_cannot_be_cancelled(api: ApiClient, notes: Notes, does: str) -> None:
    ask(api.user, does)
    runner.run_lane(LANE)
    before = Operation.objects.values().get()
    answer = api.post("operations/op/cancel/")

    assert (answer.status, answer.error["code"]) == (409, "conflict")
    assert Operation.objects.values().get() == before


def test_a_cancelled_one_cannot_be_cancelled_again(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed", "succeed")

    assert [api.post("operations/op/cancel/").status for _ in range(2)] == [202, 409]
    assert len(events_of(COURSE)) == 1


def test_someone_elses_operation_cannot_be_cancelled(api: ApiClient, stranger: User, notes: Notes) -> None:
    ask(api.user, "succeed")

    assert ApiClient(stranger).post("operations/op/cancel/").status == 404
    assert api.post("operations/another/cancel/").status == 404
    assert operation().finished_at is None


# Against a runner


def test_what_is_running_is_waited_for_and_then_it_is_too_late(owner: User, notes: Notes) -> None:
    inside, may_go_on = threading.Event(), threading.Event()

    def wait(keys: list[str]) -> None:
        inside.set()
        may_go_on.wait(10)

    notes.meanwhile = wait
    ask(owner, "succeed", "succeed")
    running = Running(lambda: runner.run_lane(LANE))
    assert inside.wait(10)
    cancelling = Running(lambda: services.cancel(operation().pk))
    until_someone_waits_for_a_lock()
    may_go_on.set()
    running.result()

    with pytest.raises(errors.Conflict):
        cancelling.result()
    assert operation().status == "succeeded"
    assert _types().count("batch-operation-complete") == 1


def test_what_is_running_counts_and_the_rest_is_cancelled(owner: User, notes: Notes) -> None:
    inside, may_go_on = threading.Event(), threading.Event()

    def wait(keys: list[str]) -> None:
        inside.set()
        may_go_on.wait(10)

    notes.meanwhile = wait
    ask(owner, "succeed", request="a", expect=2)
    ask(owner, "succeed", request="b", lane=OTHER_LANE)
    running = Running(lambda: runner.run_lane(LANE))
    assert inside.wait(10)
    cancelling = Running(lambda: services.cancel(operation().pk))
    until_someone_waits_for_a_lock()
    may_go_on.set()
    running.result()
    cancelling.result()

    assert outcomes() == {"a": "succeeded", "b": "cancelled"}
    assert (operation().status, operation().succeeded, operation().failed) == ("cancelled", 1, 1)
    assert _types() == ["note-complete", "batch-operation-complete"]


def test_a_runner_that_comes_during_the_cancelling_runs_nothing_of_it(owner: User, notes: Notes) -> None:
    ask(owner, "succeed")
    ask(owner, "succeed", key="other", request="other")
    with transaction.atomic():
        services.cancel(operation().pk)
        running = Running(lambda: runner.run_lane(LANE))
        until_someone_waits_for_a_lock()
    running.result()

    assert notes.runs == [["other"]]
    assert outcomes() == {"1": "cancelled"}


@pytest.mark.parametrize("turn", range(5))
def test_whoever_is_first_there_is_one_end(owner: User, notes: Notes, turn: int) -> None:
    ask(owner, *["succeed"] * 5)

    def cancel() -> None:
        with suppress(errors.Conflict):
            services.cancel(operation().pk)

    together(cancel, lambda: runner.run_lane(LANE), cancel)

    assert operation().status in ("cancelled", "succeeded")
    assert set(outcomes().values()) == {operation().status}
    assert _types().count("batch-operation-complete") == 1
    assert _types().count("note-complete") == operation().succeeded


def test_what_was_to_be_created_is_not_there_for_later_steps(api: ApiClient) -> None:
    course = api.course()
    runner.run_lane(f"course:{course}")
    created = api.post(f"courses/{course}/chapters/", {"title": "Never"})
    later = api.patch(f"chapters/{created.data['chapterId']}/", {"title": "Renamed"})
    api.post(f"operations/{created.body['operationId']}/cancel/")
    runner.run_lane(f"course:{course}")

    assert api.operation(later)["steps"][0]["error"]["code"] == "dependency_failed"
    assert api.outline(course)["chapters"] == []


def test_a_step_that_joins_while_the_others_are_waited_for_is_cancelled_with_them(owner: User, notes: Notes) -> None:
    inside, may_go_on = threading.Event(), threading.Event()

    def wait(keys: list[str]) -> None:
        inside.set()
        may_go_on.wait(10)

    notes.meanwhile = wait
    ask(owner, "succeed", request="a", expect=3)
    running = Running(lambda: runner.run_lane(LANE))
    inside.wait(10)
    cancelling = Running(lambda: services.cancel(operation().pk))
    until_someone_waits_for_a_lock()
    ask(owner, "succeed", request="b", expect=3, lane=OTHER_LANE)
    may_go_on.set()
    running.result()
    cancelling.result()
    runner.run_lane(OTHER_LANE)

    cancelled = operation()
    assert (cancelled.status, cancelled.succeeded, cancelled.failed) == ("cancelled", 1, 2)
    assert outcomes() == {"a": "succeeded", "b": "cancelled"}
