"""Running a lane: oldest first, many at once, by one runner, and past what crashes."""

import threading
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import OperationalError, connection

from apps.accounts.models import User
from apps.core import clock
from apps.courses.models import Chapter
from apps.operations import chores, hints, runner, tasks
from apps.operations.models import Status, Step
from tests.apps.operations.notes import COURSE, LANE, OTHER_LANE, Notes, ask, operation, outcomes
from tests.support.api import ApiClient, events_of
from tests.support.threads import Running


def _told() -> list[str]:
    return [event["data"].get("stepId", event["type"]) for event in events_of(COURSE)]


def test_what_is_pending_runs_at_once_oldest_first_whoever_asked(owner: User, stranger: User, notes: Notes) -> None:
    ask(owner, "succeed", "succeed")
    ask(stranger, "succeed", key="other", request="2")
    ask(owner, "fail", key="third", request="3")
    runner.run_lane(LANE)

    assert notes.runs == [["1.0", "1.1", "2", "3"]]
    assert _told() == ["1.0", "1.1", "2", "3", "batch-operation-complete"]
    assert outcomes("third") == {"3": "conflict"}


def test_other_lanes_are_left_alone(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", lane=OTHER_LANE)
    runner.run_lane(LANE)

    assert notes.runs == []
    assert operation().status == Status.PENDING


def test_running_twice_does_nothing_twice(owner: User, notes: Notes) -> None:
    ask(owner, "succeed")
    tasks.run_lane.apply((LANE,))
    tasks.run_lane.apply((LANE,))

    assert notes.runs == [["1"]]
    assert len(events_of(COURSE)) == 1


def test_a_job_whose_connection_broke_while_the_worker_slept_is_done_all_the_same(owner: User, notes: Notes) -> None:
    asleep, broken = threading.Event(), threading.Event()
    backends: list[int] = []

    def work() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backends.append(cursor.fetchone()[0])
        asleep.set()
        broken.wait(10)
        tasks.run_lane.apply((LANE,), throw=True)

    ask(owner, "succeed")
    worker = Running(work)
    assert asleep.wait(10)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", backends)
    broken.set()
    worker.result()

    assert outcomes() == {"1": "succeeded"}
    assert notes.runs == [["1"]]


# Batches


def test_more_than_a_batch_goes_in_several_transactions(
    owner: User, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "STEPS_AT_ONCE", 2)
    for n in range(5):
        ask(owner, "succeed", key=f"op{n}", request=f"r{n}")
    runner.run_lane(LANE)

    assert notes.runs == [["r0", "r1"], ["r2", "r3"], ["r4"]]


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 5])
def test_an_atomic_request_is_never_torn_apart(
    owner: User, notes: Notes, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(runner, "STEPS_AT_ONCE", at_once)
    ask(owner, "succeed", key="before", request="b")
    ask(owner, *["succeed"] * 4, request="a", atomic=True)
    ask(owner, *["succeed"] * 2, key="next", request="n", atomic=True)
    ask(owner, "succeed", key="after", request="z")
    runner.run_lane(LANE)

    (together,) = [run for run in notes.runs if "a.0" in run]
    assert {"a.0", "a.1", "a.2", "a.3"} <= set(together)
    (next_,) = [run for run in notes.runs if "n.0" in run]
    assert "n.1" in next_
    assert [key for run in notes.runs for key in run] == ["b", "a.0", "a.1", "a.2", "a.3", "n.0", "n.1", "z"]


def test_the_largest_atomic_save_behind_another_step_is_all_or_nothing(api: ApiClient) -> None:
    course = api.course()
    chapter = api.chapter(course)
    runner.run_lane(f"course:{course}")
    api.patch(f"courses/{course}/", {"title": "Before"})
    changes = [{"action": "chapter.update", "chapterId": chapter, "title": f"{n}"} for n in range(1_999)]
    changes.append({"action": "chapter.update", "chapterId": course, "title": "There is no such chapter"})
    answer = api.post(f"courses/{course}/save/", {"atomic": True, "changes": changes})
    runner.run_lane(f"course:{course}")

    ended = api.operation(answer)
    assert (ended["status"], ended["succeeded"], ended["failed"]) == ("failed", 0, 2_000)
    assert api.get(f"chapters/{chapter}/").data["title"] == "Chapter"
    assert api.get(f"courses/{course}/").data["title"] == "Before"


# Crashes


def test_a_crash_is_the_culprits_alone(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", "crash", "fail", "succeed")
    runner.run_lane(LANE)

    assert outcomes() == {"1.0": "succeeded", "1.1": "internal_error", "1.2": "conflict", "1.3": "succeeded"}
    assert _told() == ["1.0", "1.1", "1.2", "1.3", "batch-operation-complete"]
    assert operation().status == Status.PARTIAL


def test_a_crash_says_nothing_of_what_is_inside(owner: User, notes: Notes) -> None:
    ask(owner, "crash")
    runner.run_lane(LANE)

    (event,) = events_of(COURSE)
    assert event["type"] == "operation-failed"
    assert event["data"] == {
        "stepId": "1",
        "action": "note.write",
        "noteId": "n0",
        "error": {"code": "internal_error", "message": "Something went wrong here; this change was not made."},
    }


def test_a_crash_that_only_the_commit_would_show_is_the_culprits_alone(live: ApiClient, notes: Notes) -> None:
    course = live.course()

    def break_a_rule_of_the_database(keys: list[str]) -> None:
        if "1.1" in keys:
            at = {"created_at": clock.now(), "updated_at": clock.now()}
            for _ in range(2):
                Chapter.objects.create(course_id=course, title="Both are first", position=0, **at)

    notes.meanwhile = break_a_rule_of_the_database
    ask(live.user, "succeed", "succeed", "succeed")
    runner.run_lane(LANE)

    assert outcomes() == {"1.0": "succeeded", "1.1": "internal_error", "1.2": "succeeded"}
    assert not Chapter.objects.exists()


def test_what_a_crash_left_half_done_is_undone(api: ApiClient) -> None:
    """The culprit's step is from a version that wrote another payload."""
    course = api.course()
    first, culprit, last = (api.chapter(course, title) for title in ("1", "culprit", "2"))
    step = Step.objects.get(creates=culprit)
    Step.objects.filter(pk=step.pk).update(payload={"chapterId": culprit, "courseId": course})
    runner.run_lane(f"course:{course}")

    assert [chapter["id"] for chapter in api.outline(course)["chapters"]] == [first, last]
    assert [chapter["position"] for chapter in api.outline(course)["chapters"]] == [0, 1]
    step.refresh_from_db()
    assert step.error["code"] == "internal_error"
    assert [event["seq"] for event in events_of(course)] == [1, 2, 3, 4]


def test_a_crash_in_an_atomic_request_takes_all_of_it_and_nothing_else(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", key="before")
    ask(owner, "succeed", "crash", "succeed", request="a", atomic=True)
    ask(owner, "succeed", key="after")
    runner.run_lane(LANE)

    assert set(outcomes().values()) <= {"internal_error", "rolled_back"}
    assert (outcomes("before"), outcomes("after")) == ({"1": "succeeded"}, {"1": "succeeded"})
    assert "note-complete" not in [event["type"] for event in events_of(COURSE) if event["operationId"] == "op"]


def test_a_crash_in_an_atomic_request_is_told_once(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", "crash", "succeed", atomic=True)
    runner.run_lane(LANE)

    assert [event["type"] for event in events_of(COURSE)] == ["operation-failed", "batch-operation-complete"]


@pytest.mark.parametrize("after_a_crash", [False, True])
def test_a_database_that_goes_leaves_the_steps_pending(owner: User, notes: Notes, after_a_crash: bool) -> None:
    ask(owner, "succeed", "crash" if after_a_crash else "succeed", "lose")
    with pytest.raises(OperationalError):
        runner.run_lane(LANE)

    assert set(outcomes().values()) == {"pending"}
    assert events_of(COURSE) == []
    Step.objects.filter(key="1.2").update(payload={"does": "succeed"})
    runner.run_lane(LANE)
    assert outcomes()["1.2"] == "succeeded"
    assert operation().finished_at


# Two runners


def test_whoever_finds_the_lane_taken_leaves_and_the_other_looks_again(owner: User, notes: Notes) -> None:
    inside, may_go_on = threading.Event(), threading.Event()

    def wait(keys: list[str]) -> None:
        inside.set()
        may_go_on.wait(10)

    notes.meanwhile = wait
    ask(owner, "succeed", key="first", request="first")
    one = Running(lambda: runner.run_lane(LANE))
    assert inside.wait(10)
    ask(owner, "succeed", key="second", request="second")
    Running(lambda: runner.run_lane(LANE)).result()
    assert outcomes("second") == {"second": "pending"}
    may_go_on.set()
    one.result()

    assert notes.runs == [["first"], ["second"]]
    assert outcomes("second") == {"second": "succeeded"}


def test_lanes_run_side_by_side(owner: User, notes: Notes) -> None:
    both_inside = threading.Barrier(2)
    notes.meanwhile = lambda keys: both_inside.wait(10)
    ask(owner, "succeed", key="a")
    ask(owner, "succeed", key="b", lane=OTHER_LANE)
    one, two = Running(lambda: runner.run_lane(LANE)), Running(lambda: runner.run_lane(OTHER_LANE))
    one.result()
    two.result()

    assert (outcomes("a"), outcomes("b")) == ({"1": "succeeded"}, {"1": "succeeded"})


def test_a_runner_that_dies_lets_go_of_its_lane(owner: User, notes: Notes) -> None:
    def die(keys: list[str]) -> None:
        raise SystemExit

    ask(owner, "succeed")
    notes.meanwhile = die
    with pytest.raises(SystemExit):
        Running(lambda: runner.run_lane(LANE)).result()
    notes.meanwhile = lambda keys: None
    runner.run_lane(LANE)

    assert outcomes() == {"1": "succeeded"}


# Lost hints


def _seconds_ago(key: str, seconds: float) -> None:
    Step.objects.filter(operation__key=key).update(created_at=clock.now() - timedelta(seconds=seconds))


def test_steps_whose_hint_was_lost_are_run_by_the_relay(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", key="a")
    ask(owner, "succeed", key="b", lane=OTHER_LANE)
    _seconds_ago("a", 5)
    chores.run_left_steps()
    assert (outcomes("a"), outcomes("b")) == ({"1": "succeeded"}, {"1": "pending"})
    _seconds_ago("b", 2)
    chores.run_left_steps()

    assert outcomes("b") == {"1": "succeeded"}


def test_a_lane_with_much_to_do_is_left_to_the_workers_again_and_keeps_no_other_waiting(
    owner: User, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("first", "second"):
        ask(owner, "succeed", key=key, lane=OTHER_LANE)
        _seconds_ago(key, 60)
    ask(owner, "succeed", key="other")
    _seconds_ago("other", 30)
    hinted: list[str] = []
    monkeypatch.setattr(runner, "STEPS_AT_ONCE", 1)
    monkeypatch.setattr(chores, "_TURN_SECONDS", 0.0)
    monkeypatch.setattr(hints, "_instead", hinted.append)
    chores.run_left_steps()

    assert (outcomes("first"), outcomes("second")) == ({"1": "succeeded"}, {"1": "pending"})
    assert outcomes("other") == {"1": "succeeded"}
    assert hinted == [OTHER_LANE]


def test_a_lane_that_cannot_be_run_does_not_keep_the_relay_from_the_others(owner: User, notes: Notes) -> None:
    ask(owner, "lose", key="stuck", lane=OTHER_LANE)
    ask(owner, "succeed", key="fine")
    _seconds_ago("stuck", 60)
    _seconds_ago("fine", 30)
    with suppress(OperationalError):
        chores.run_left_steps()

    assert (outcomes("stuck"), outcomes("fine")) == ({"1": "pending"}, {"1": "succeeded"})


def test_a_lane_of_a_kind_that_nobody_runs_fails_its_steps_instead_of_staying_for_ever(owner: User) -> None:
    ask(owner, "succeed", lane="unheard-of:1")
    runner.run_lane("unheard-of:1")

    assert outcomes() == {"1": "internal_error"}
