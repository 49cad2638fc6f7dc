"""Requests at the same time: one effect for equal ones, and lanes in the order of the answers."""

import threading
import time
from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import transaction

from apps.accounts.models import User
from apps.core import errors
from apps.operations import runner, submit
from apps.operations.models import Operation, Step
from tests.apps.operations.notes import COURSE, LANE, OTHER_LANE, Notes, ask, operation, outcomes, plan
from tests.support.api import Answer, ApiClient, events_of
from tests.support.threads import Running, together, until_someone_waits_for_a_lock


@pytest.fixture
def course(api: ApiClient) -> str:
    course = api.course()
    runner.run_lane(f"course:{course}")
    return course


# Equal requests


@pytest.mark.parametrize("named", [{"Operation_Id": "op"}, {"Idempotency_Key": "key"}])
def test_equal_requests_have_one_effect_and_one_answer(api: ApiClient, course: str, named: dict[str, str]) -> None:
    def post() -> Answer:
        return ApiClient(api.user).post(f"courses/{course}/chapters/", {"title": "One"}, **named)

    answers = together(*[post] * 6)
    runner.run_lane(f"course:{course}")

    assert {answer.status for answer in answers} == {202}
    assert len({str(answer.body) for answer in answers}) == 1
    assert len(api.outline(course)["chapters"]) == 1
    assert Step.objects.filter(action="chapter.create").count() == 1


def test_equal_requests_whose_effect_refuses_the_next_have_one_answer_too(api: ApiClient, course: str) -> None:
    body = {"operationId": "op", "changes": [{"action": "chapter.create", "title": "C", "tempId": "c"}]}
    answers = together(*[lambda: ApiClient(api.user).post(f"courses/{course}/save/", body)] * 6)

    assert {answer.status for answer in answers} == {202}
    assert len({answer.data["ids"]["c"] for answer in answers}) == 1


def test_of_different_requests_with_one_name_one_is_taken(api: ApiClient, course: str) -> None:
    def post(n: int) -> Callable[[], Answer]:
        body = {"title": f"Chapter {n}", "operationId": "op"}
        return lambda: ApiClient(api.user).post(f"courses/{course}/chapters/", body)

    answers = together(*[post(n) for n in range(6)])
    runner.run_lane(f"course:{course}")

    assert sorted(answer.status for answer in answers) == [202, *[422] * 5]
    assert len(api.outline(course)["chapters"]) == 1


def test_an_equal_request_waits_for_the_first_to_be_taken_and_is_answered_as_it_was(owner: User, notes: Notes) -> None:
    def ask_with(value: str) -> submit.Accepted:
        made = plan("succeed")
        answer = submit.Plan(made.kind, made.steps, {"made": value})
        return submit.submit(owner, submit.Identity("op"), "the same", answer)

    with transaction.atomic():
        first = ask_with("first")
        second = Running(lambda: ask_with("second"))
        until_someone_waits_for_a_lock()
        assert not second.ended

    assert first.data == second.result().data == {"made": "first"}
    assert Step.objects.count() == 1


def test_a_request_that_its_own_repetition_made_impossible_gets_the_first_answer(owner: User, notes: Notes) -> None:
    """The other thread's is taken between the question whether it was taken and the question whether it can be."""
    identity, digest = submit.Identity("op"), "the same"

    def too_late() -> submit.Accepted:
        submit.submit(owner, identity, digest, plan("succeed"))
        raise errors.NotFound

    assert submit.once(owner, identity, digest, too_late) == submit.Accepted("op", {"noteId": "n0"})
    with pytest.raises(errors.NotFound):
        submit.once(owner, submit.Identity("another"), digest, _refuse)


def _refuse() -> submit.Accepted:
    raise errors.NotFound


def test_an_equal_request_takes_the_place_of_a_first_that_failed(owner: User, notes: Notes) -> None:
    with transaction.atomic():
        ask(owner, "succeed", "succeed")
        second = Running(lambda: ask(owner, "fail"))
        until_someone_waits_for_a_lock()
        transaction.set_rollback(True)
    second.result()

    assert outcomes() == {"1": "pending"}
    assert Step.objects.get().payload == {"does": "fail"}


# Requests of one operation


def test_requests_of_one_operation_are_all_counted_and_it_ends_once(owner: User, notes: Notes) -> None:
    def post(n: int) -> Callable[[], str]:
        return lambda: ask(owner, "succeed", request=f"s{n}", expect=8)

    together(*[post(n) for n in range(8)])
    runner.run_lane(LANE)

    assert (operation().registered, operation().succeeded) == (8, 8)
    assert [event["type"] for event in events_of(COURSE)].count("batch-operation-complete") == 1


@pytest.mark.parametrize("lane_of", [lambda n: LANE, lambda n: f"note:{n}"], ids=["one lane", "many lanes"])
def test_no_more_steps_are_taken_than_expected_however_many_come_at_once(
    owner: User, notes: Notes, lane_of: Callable[[int], str]
) -> None:
    def post(n: int) -> Callable[[], bool]:
        def try_it() -> bool:
            try:
                ask(owner, "succeed", request=f"s{n}", expect=3, lane=lane_of(n))
            except errors.Conflict:
                return False
            return True

        return try_it

    taken = together(*[post(n) for n in range(8)])
    for n in range(8):
        runner.run_lane(lane_of(n))

    assert sum(taken) == 3
    assert (operation().registered, operation().succeeded) == (3, 3)


# The order of a lane


def test_whoever_appends_to_a_lane_second_waits_for_the_firsts_commit(owner: User, notes: Notes) -> None:
    """Otherwise the second could be answered, and run, while the first, with a lower id, is not there yet."""
    with transaction.atomic():
        ask(owner, "succeed", key="first", request="first")
        second = Running(lambda: ask(owner, "succeed", key="second", request="second"))
        until_someone_waits_for_a_lock()
        Running(lambda: runner.run_lane(LANE)).result()
        assert not second.ended
    second.result()
    runner.run_lane(LANE)

    assert notes.runs == [["first", "second"]]


def test_that_holds_for_further_requests_of_operations_too(owner: User, notes: Notes) -> None:
    """The first is stopped when its step has its id: another step of the same name may be about to be there."""
    for key in ("first", "second"):
        ask(owner, "succeed", key=key, request="elsewhere", expect=2, lane=OTHER_LANE)
    with transaction.atomic():
        step = Step.objects.get(operation__key="first")
        step.pk, step.key = None, "first"
        step.save(force_insert=True)
        first = Running(lambda: ask(owner, "succeed", key="first", request="first"))
        until_someone_waits_for_a_lock()
        second = Running(lambda: ask(owner, "succeed", key="second", request="second"))
        until_someone_waits_for_a_lock(2)
        assert not second.ended
        transaction.set_rollback(True)
    first.result()
    second.result()
    runner.run_lane(LANE)

    assert notes.runs == [["first", "second"]]


def test_lanes_do_not_wait_for_each_other(owner: User, notes: Notes) -> None:
    with transaction.atomic():
        ask(owner, "succeed", key="here")
        Running(lambda: ask(owner, "succeed", key="there", lane=OTHER_LANE)).result()

    assert set(Operation.objects.values_list("key", flat=True)) == {"here", "there"}


def test_appending_does_not_wait_for_a_run(owner: User, notes: Notes) -> None:
    inside, may_go_on = threading.Event(), threading.Event()

    def wait(keys: list[str]) -> None:
        inside.set()
        may_go_on.wait(10)

    notes.meanwhile = wait
    ask(owner, "succeed", key="first")
    running = Running(lambda: runner.run_lane(LANE))
    assert inside.wait(10)
    ask(owner, "succeed", key="second")
    may_go_on.set()
    running.result()

    assert outcomes("second") == {"1": "succeeded"}


def test_running_does_not_wait_for_an_append(owner: User, notes: Notes) -> None:
    ask(owner, "succeed", key="first")
    with transaction.atomic():
        ask(owner, "succeed", key="second")
        Running(lambda: runner.run_lane(LANE)).result()

    assert (outcomes("first"), outcomes("second")) == ({"1": "succeeded"}, {"1": "pending"})


def test_steps_run_in_the_order_in_which_their_requests_were_answered(owner: User, notes: Notes) -> None:
    asked: list[tuple[float, float, str]] = []

    def submitter(name: str) -> Callable[[], None]:
        def run() -> None:
            for n in range(10):
                began = time.perf_counter()
                ask(owner, "succeed", key=f"{name}{n}", request=f"{name}{n}")
                asked.append((began, time.perf_counter(), f"{name}{n}"))

        return run

    def worker() -> None:
        while len(asked) < 40:
            runner.run_lane(LANE)

    together(*[submitter(name) for name in "abcd"], worker, worker)
    runner.run_lane(LANE)

    order = [event["data"]["stepId"] for event in events_of(COURSE)]
    place = {key: n for n, key in enumerate(order)}
    assert len(order) == len(place) == 40
    for _, answered, earlier in asked:
        assert all(place[earlier] < place[later] for began, _, later in asked if began > answered)


def test_a_save_over_two_lanes_in_opposite_orders_does_not_deadlock(owner: User, notes: Notes) -> None:
    def across(*names: str, key: str) -> submit.Accepted:
        steps = [step for n, name in enumerate(names) for step in plan("succeed", lane=name).steps]
        keyed = [
            submit.NewStep(step.action, step.lane, step.topic, step.payload, key=f"{n}") for n, step in enumerate(steps)
        ]
        return submit.submit(owner, submit.Identity(key), "digest", submit.Plan("note.write", keyed, {}))

    def forwards() -> None:
        for n in range(15):
            across(LANE, OTHER_LANE, key=f"f{n}")

    def backwards() -> None:
        for n in range(15):
            across(OTHER_LANE, LANE, key=f"b{n}")

    together(forwards, backwards)
    together(lambda: runner.run_lane(LANE), lambda: runner.run_lane(OTHER_LANE))

    assert Operation.objects.filter(status="succeeded").count() == 30


def test_ids_grow_with_time(api: ApiClient) -> None:
    operations = [api.post("courses/", {"title": "x"}).body["operationId"] for _ in range(5)]

    assert operations == sorted(operations, key=UUID)
