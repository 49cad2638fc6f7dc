"""An operation ends once, with one event, whoever runs its steps."""

import threading
from typing import Any

import pytest

from apps.accounts.models import User
from apps.operations import lanes, runner
from apps.operations.models import Operation, Step
from tests.apps.operations.notes import (
    COURSE,
    LANE,
    OTHER_COURSE,
    OTHER_LANE,
    Notes,
    ask,
    operation,
    outcomes,
    own_topic,
)
from tests.support.api import ApiClient, events_of
from tests.support.threads import together

BATCH = "batch-operation-complete"


def _ends(topic: str) -> list[dict[str, Any]]:
    return [event for event in events_of(topic) if event["type"] == BATCH]


# Once


@pytest.mark.parametrize("turn", range(5))
def test_two_workers_that_run_the_last_steps_at_the_same_time_end_it_once(owner: User, notes: Notes, turn: int) -> None:
    both_have_run = threading.Barrier(2)
    notes.meanwhile = lambda keys: both_have_run.wait(10)
    ask(owner, "succeed", request="a", expect=2)
    ask(owner, "fail", request="b", lane=OTHER_LANE, topic=OTHER_COURSE)
    together(lambda: runner.run_lane(LANE), lambda: runner.run_lane(OTHER_LANE))

    ended = operation()
    assert (ended.status, ended.succeeded, ended.failed) == ("partial", 1, 1)
    (event,) = _ends(own_topic(owner))
    assert (event["data"]["succeeded"], event["data"]["failed"]) == (1, 1)
    assert [result["status"] for result in event["data"]["results"]] == ["succeeded", "failed"]
    assert _ends(COURSE) == _ends(OTHER_COURSE) == []


def test_many_workers_and_many_operations_across_them_end_each_once(owner: User, notes: Notes) -> None:
    lanes_ = [f"note:{n}" for n in range(4)]
    for lane in lanes_:
        for n in range(6):
            ask(owner, "succeed", key=f"op{n}", request=lane, lane=lane, expect=4, topic=f"course:{_uuid(lane)}")
    together(*[lambda lane=lane: runner.run_lane(lane) for lane in lanes_])

    assert list(Operation.objects.values_list("status", flat=True)) == ["succeeded"] * 6
    assert sorted(event["operationId"] for event in _ends(own_topic(owner))) == [f"op{n}" for n in range(6)]


def _uuid(lane: str) -> str:
    return f"01900000-0000-7000-8000-00000000000{lane[-1]}"


def test_a_step_ends_once_however_often_its_lane_is_run(owner: User, notes: Notes) -> None:
    ask(owner, *["succeed"] * 20)
    together(*[lambda: runner.run_lane(LANE)] * 4)

    assert len(events_of(COURSE)) == 21
    assert operation().succeeded == 20


# Its event


def test_the_end_is_told_after_everything_that_led_to_it(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", "fail", "succeed")
    runner.run_lane(LANE)

    assert [event["type"] for event in events_of(COURSE)] == [
        "note-complete",
        "operation-failed",
        "note-complete",
        BATCH,
    ]
    assert [event["seq"] for event in events_of(COURSE)] == [1, 2, 3, 4]


def test_the_event_says_what_became_of_each_step(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", "fail")
    runner.run_lane(LANE)

    (event,) = _ends(COURSE)
    assert event["operationId"] == "op"
    assert event["data"] == {
        "operationId": "op",
        "status": "partial",
        "succeeded": 1,
        "failed": 1,
        "results": [
            {"stepId": "1.0", "action": "note.write", "status": "succeeded", "noteId": "n0", "error": None},
            {
                "stepId": "1.1",
                "action": "note.write",
                "status": "failed",
                "noteId": "n1",
                "error": {"code": "conflict", "message": "As it was told."},
            },
        ],
    }


def test_a_failed_step_is_told_with_its_error_and_what_it_was_about(owner: User, notes: Notes) -> None:
    ask(owner, "fail")
    runner.run_lane(LANE)

    (event,) = events_of(COURSE)
    assert (event["type"], event["operationId"]) == ("operation-failed", "op")
    assert event["data"] == {
        "stepId": "1",
        "action": "note.write",
        "noteId": "n0",
        "error": {"code": "conflict", "message": "As it was told."},
    }


@pytest.mark.parametrize(
    ("does", "status"),
    [
        (["succeed"] * 3, "succeeded"),
        (["fail"] * 3, "failed"),
        (["fail", "succeed"], "partial"),
        (["succeed"], "succeeded"),
        (["fail"], "failed"),
        (["crash"], "failed"),
    ],
)
def test_the_status_says_how_it_went(owner: User, notes: Notes, does: list[str], status: str) -> None:
    ask(owner, *does)
    runner.run_lane(LANE)

    assert operation().status == status
    assert [event["data"]["status"] for event in _ends(COURSE)] == [status] * (len(does) > 1)


def test_fifty_results_are_all_told(owner: User, notes: Notes) -> None:
    ask(owner, *["fail", "succeed"] * 25)
    runner.run_lane(LANE)

    (event,) = _ends(COURSE)
    assert [result["stepId"] for result in event["data"]["results"]] == [f"1.{n}" for n in range(50)]
    assert "truncated" not in event["data"]


def test_of_more_than_fifty_only_the_failed_ones_are_told(owner: User, notes: Notes) -> None:
    ask(owner, *["succeed"] * 48, *["fail"] * 3)
    runner.run_lane(LANE)

    (event,) = _ends(COURSE)
    assert [result["stepId"] for result in event["data"]["results"]] == ["1.48", "1.49", "1.50"]
    assert event["data"]["truncated"] is True
    assert (event["data"]["succeeded"], event["data"]["failed"]) == (48, 3)


def test_no_more_than_fifty_failed_ones_are_told(owner: User, notes: Notes) -> None:
    ask(owner, *["fail"] * 60)
    runner.run_lane(LANE)

    (event,) = _ends(COURSE)
    assert [result["stepId"] for result in event["data"]["results"]] == [f"1.{n}" for n in range(50)]
    assert (event["data"]["truncated"], event["data"]["failed"]) == (True, 60)


def test_many_that_all_succeeded_have_no_results(owner: User, notes: Notes) -> None:
    ask(owner, *["succeed"] * 60)
    runner.run_lane(LANE)

    assert (_ends(COURSE)[0]["data"]["results"], _ends(COURSE)[0]["data"]["truncated"]) == ([], True)


def test_a_single_step_has_no_end_of_its_own_and_a_save_of_one_change_has(live: ApiClient) -> None:
    course = live.course()
    live.patch(f"courses/{course}/", {"title": "Single"})
    assert [event["type"] for event in events_of(course)] == ["course-create-complete", "course-update-complete"]
    changes = [{"action": "course.update", "title": "Saved"}]
    answer = live.post(f"courses/{course}/save/", {"changes": changes})

    assert [event["type"] for event in events_of(course)][2:] == ["course-update-complete", BATCH]
    assert live.operation(answer)["status"] == "succeeded"


def test_one_step_of_several_expected_is_not_the_end(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", expect=2)
    runner.run_lane(LANE)

    assert (operation().status, operation().finished_at) == ("running", None)
    assert _ends(COURSE) == []


# Where it is told, and its seq


def test_seq_is_that_of_the_final_event(live: ApiClient) -> None:
    course = live.course()
    single = live.operation(live.post(f"courses/{course}/chapters/", {"title": "One"}))
    changes = [{"action": "chapter.create", "title": str(n)} for n in range(3)]
    save = live.operation(live.post(f"courses/{course}/save/", {"changes": changes}))

    assert (single["topic"], single["seq"]) == (f"course:{course}", 2)
    assert (save["topic"], save["seq"]) == (f"course:{course}", 6)
    assert events_of(course)[5]["type"] == BATCH


def test_a_failed_single_steps_seq_is_that_of_its_failure(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", key="first")
    ask(owner, "fail")
    runner.run_lane(LANE)

    assert (operation().topic, operation().seq) == (COURSE, 2)


def test_an_operation_on_several_courses_ends_on_its_submitters_topic(live: ApiClient, owner: User) -> None:
    first, second = live.course(), live.course()
    for n, course in enumerate((first, second)):
        named = {"operationId": "op", "expect": 2, "stepId": f"{n}"}
        live.post(f"courses/{course}/chapters/", {"title": "C", **named})
    told = events_of(f"user:{owner.pk}")[-1]

    assert (told["type"], told["userId"], told["operationId"]) == (BATCH, str(owner.pk), "op")
    assert _ends(f"course:{first}") == _ends(f"course:{second}") == []
    shown = live.get("operations/op/").data
    assert (shown["topic"], shown["seq"]) == (f"user:{owner.pk}", told["seq"])


def test_the_first_failure_is_the_operations_error(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", "fail", "crash")
    runner.run_lane(LANE)

    assert operation().error == {"code": "conflict", "message": "As it was told."}


def test_what_ended_is_shown_with_its_data_and_errors(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed", "fail")
    runner.run_lane(LANE)

    shown = api.get("operations/op/").data
    assert (shown["status"], shown["progress"], shown["seq"]) == ("partial", 100, 3)
    assert shown["finishedAt"] >= shown["createdAt"]
    assert [step["data"] for step in shown["steps"]] == [{"noteId": "n0", "noted": True}, {"noteId": "n1"}]
    assert [step["error"] and step["error"]["code"] for step in shown["steps"]] == [None, "conflict"]


def test_a_failure_nobody_is_to_hear_of_has_no_event(owner: User, notes: Notes) -> None:
    class Silent(Notes):
        def run(self, lane: str, steps: Any, now: Any) -> list[lanes.Outcome]:
            return [lanes.Outcome(step, step.topic, error={"code": "x", "message": "x"}, silent=True) for step in steps]

    lanes.register("note", Silent())
    ask(owner, "succeed", "succeed")
    runner.run_lane(LANE)

    assert [event["type"] for event in events_of(COURSE)] == [BATCH]
    assert set(outcomes().values()) == {"x"}


def test_nothing_of_an_ended_operation_changes_any_more(owner: User, notes: Notes) -> None:
    ask(owner, "succeed")
    runner.run_lane(LANE)
    before = (Operation.objects.values().get(), Step.objects.values().get())
    runner.run_lane(LANE)

    assert (Operation.objects.values().get(), Step.objects.values().get()) == before
