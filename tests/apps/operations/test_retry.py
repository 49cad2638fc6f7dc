"""Trying again what failed, as a new operation."""

from typing import Any

import pytest

from apps.accounts.models import User
from apps.operations import runner
from apps.operations.models import Operation, Step
from tests.apps.operations.notes import COURSE, LANE, Notes, ask, outcomes
from tests.support.api import Answer, ApiClient, events_of


def _now_they_succeed() -> None:
    Step.objects.filter(payload={"does": "fail"}).update(payload={"does": "succeed"})


def _retry(api: ApiClient, key: str = "op", body: Any = None, **headers: str) -> Answer:
    return api.post(f"operations/{key}/retry/", body, **headers)


def test_only_the_failed_steps_are_done_again_as_a_new_operation(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed", "fail", "fail")
    runner.run_lane(LANE)
    before = api.get("operations/op/").data
    _now_they_succeed()
    answer = _retry(api)
    runner.run_lane(LANE)

    assert (answer.status, answer.data) == (202, {"retryOf": "op"})
    new = api.operation(answer)
    assert new["operationId"] == answer.body["operationId"] != "op"
    assert (new["kind"], new["status"], new["expected"], new["succeeded"]) == ("note.write", "succeeded", 2, 2)
    assert [step["stepId"] for step in new["steps"]] == ["1.1", "1.2"]
    assert notes.runs == [["1.0", "1.1", "1.2"], ["1.1", "1.2"]]
    assert api.get("operations/op/").data == before
    last = events_of(COURSE)[-1]
    assert (last["type"], last["operationId"]) == ("batch-operation-complete", new["operationId"])


def test_what_fails_again_can_be_tried_again(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "fail")
    runner.run_lane(LANE)
    second = _retry(api).body["operationId"]
    runner.run_lane(LANE)
    assert api.get(f"operations/{second}/").data["status"] == "failed"
    third = _retry(api, second)
    _now_they_succeed()
    runner.run_lane(LANE)

    assert third.data == {"retryOf": second}
    assert api.operation(third)["status"] == "succeeded"


def test_what_was_cancelled_can_be_tried_again(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed", "succeed")
    api.post("operations/op/cancel/")
    retried = _retry(api)
    runner.run_lane(LANE)

    assert api.operation(retried)["succeeded"] == 2


def test_when_nothing_failed_there_is_nothing_to_try(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed", "succeed")
    runner.run_lane(LANE)

    assert (_retry(api).status, _retry(api).error["code"]) == (409, "conflict")
    assert Operation.objects.count() == 1


def test_what_never_came_cannot_be_tried_again(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed", expect=3)
    runner.run_lane(LANE)
    api.post("operations/op/cancel/")

    assert api.get("operations/op/").data["failed"] == 2
    assert (_retry(api).status, _retry(api).error["message"]) == (409, "The steps that failed never came.")


def test_what_has_not_ended_cannot_be_tried_again(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "fail", expect=2)
    assert _retry(api).status == 409
    runner.run_lane(LANE)

    assert (_retry(api).status, _retry(api).error["code"]) == (409, "conflict")
    assert Operation.objects.count() == 1


def test_someone_elses_operation_cannot_be_tried_again(api: ApiClient, stranger: User, notes: Notes) -> None:
    ask(api.user, "fail")
    runner.run_lane(LANE)

    assert _retry(ApiClient(stranger)).status == 404
    assert _retry(api, "unknown").status == 404


def test_a_retry_is_a_request_like_any_other(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "fail")
    runner.run_lane(LANE)
    first = _retry(api, body={"operationId": "again"})
    runner.run_lane(LANE)
    second = _retry(api, Operation_Id="again")

    assert first.body == second.body == {**first.body, "operationId": "again"}
    by_key = [_retry(api, Idempotency_Key="k").body["operationId"] for _ in range(2)]
    assert by_key[0] == by_key[1]
    assert Operation.objects.count() == 3
    assert _retry(api, body={"operationId": "op"}).status == 422
    assert _retry(api, body={"colour": "red"}).error["code"] == "validation_error"


def test_a_retried_save_of_one_change_still_has_its_end(api: ApiClient) -> None:
    course = api.course()
    runner.run_lane(f"course:{course}")
    changes = [{"action": "course.update", "title": "x", "baseVersion": 1}]
    api.patch(f"courses/{course}/", {"title": "First"})
    answer = api.post(f"courses/{course}/save/", {"changes": changes})
    runner.run_lane(f"course:{course}")
    assert api.operation(answer)["steps"][0]["error"]["code"] == "version_conflict"
    retried = _retry(api, answer.body["operationId"])
    runner.run_lane(f"course:{course}")

    assert api.operation(retried)["kind"] == "save"
    last = events_of(course)[-1]
    assert (last["type"], last["operationId"]) == ("batch-operation-complete", retried.body["operationId"])


def _failed_creations(api: ApiClient, *, atomic: bool) -> tuple[str, Answer]:
    """Have a chapter, and a video in it, fail because their course is deleted just then."""
    course = api.course()
    runner.run_lane(f"course:{course}")
    api.delete(f"courses/{course}/")
    changes = [
        {"action": "chapter.create", "title": "C", "tempId": "c"},
        {"action": "video.create", "title": "V", "chapterId": "c", "tempId": "v"},
    ]
    answer = api.post(f"courses/{course}/save/", {"operationId": "op", "changes": changes, "atomic": atomic})
    runner.run_lane(f"course:{course}")
    assert api.operation(answer)["failed"] == 2
    api.post(f"courses/{course}/restore/")
    runner.run_lane(f"course:{course}")
    return course, answer


@pytest.mark.parametrize("atomic", [False, True])
def test_creations_keep_their_ids_and_what_refers_to_them_holds(api: ApiClient, atomic: bool) -> None:
    course, answer = _failed_creations(api, atomic=atomic)
    retried = _retry(api)
    assert retried.data == {"retryOf": "op"}
    runner.run_lane(f"course:{course}")

    (chapter,) = api.outline(course)["chapters"]
    assert chapter["id"] == answer.data["ids"]["c"]
    assert [video["id"] for video in chapter["videos"]] == [answer.data["ids"]["v"]]
    assert [event["data"].get("tempId") for event in events_of(course)][-3:] == ["c", "v", None]


def test_an_atomic_save_is_tried_again_as_a_whole(api: ApiClient) -> None:
    course, _ = _failed_creations(api, atomic=True)
    step = Step.objects.get(action="video.create")
    Step.objects.filter(pk=step.pk).update(payload={**step.payload, "chapterId": course})
    retried = _retry(api)
    runner.run_lane(f"course:{course}")

    assert sorted(outcomes(retried.body["operationId"]).values()) == ["not_found", "rolled_back"]
    assert api.outline(course)["chapters"] == []


def test_what_a_retry_is_about_to_create_may_be_changed_already(api: ApiClient) -> None:
    course, answer = _failed_creations(api, atomic=False)
    assert api.patch(f"chapters/{answer.data['ids']['c']}/", {"title": "Too soon"}).status == 404
    _retry(api)
    renamed = api.patch(f"chapters/{answer.data['ids']['c']}/", {"title": "Renamed"})
    runner.run_lane(f"course:{course}")

    assert api.operation(renamed)["status"] == "succeeded"
    assert [chapter["title"] for chapter in api.outline(course)["chapters"]] == ["Renamed"]


def test_what_is_created_by_one_retry_cannot_be_created_by_another(api: ApiClient) -> None:
    course, _ = _failed_creations(api, atomic=False)
    first, second = _retry(api), _retry(api)
    runner.run_lane(f"course:{course}")
    third = _retry(api)
    runner.run_lane(f"course:{course}")

    assert api.operation(first)["status"] == "succeeded"
    assert [api.operation(answer)["status"] for answer in (second, third)] == ["failed", "failed"]
    (chapter,) = api.outline(course)["chapters"]
    assert (chapter["position"], len(chapter["videos"])) == (0, 1)


def test_a_second_creation_of_one_thing_is_a_conflict_and_no_crash(api: ApiClient) -> None:
    course, _ = _failed_creations(api, atomic=False)
    answers = [_retry(api), _retry(api)]
    runner.run_lane(f"course:{course}")
    answers.append(_retry(api))
    runner.run_lane(f"course:{course}")

    for answer in answers[1:]:
        assert {step["error"]["code"] for step in api.operation(answer)["steps"]} == {"conflict"}


def test_a_retry_is_checked_for_rights_like_the_first_try(api: ApiClient, stranger: User) -> None:
    course = api.course()
    api.post(f"courses/{course}/members/", {"username": "stan", "role": "editor"})
    runner.run_lane(f"course:{course}")
    editor = ApiClient(stranger)
    api.delete(f"courses/{course}/members/{stranger.pk}/")
    failed = editor.post(f"courses/{course}/chapters/", {"title": "Late"})
    runner.run_lane(f"course:{course}")
    told = len(events_of(course))

    assert _retry(editor, failed.body["operationId"]).status == 404
    runner.run_lane(f"course:{course}")
    assert len(events_of(course)) == told


def test_a_retry_on_a_deleted_course_is_refused(api: ApiClient) -> None:
    course = api.course()
    runner.run_lane(f"course:{course}")
    api.delete(f"courses/{course}/")
    api.post(f"courses/{course}/chapters/", {"title": "Late", "operationId": "op"})
    runner.run_lane(f"course:{course}")

    assert _retry(api).status == 410


def test_what_was_asked_for_together_stays_together_and_the_rest_apart(api: ApiClient) -> None:
    course = api.course()
    runner.run_lane(f"course:{course}")
    named = {"operationId": "op", "expect": 7}
    unknown = {"action": "chapter.update", "chapterId": course, "title": "x"}
    new = {"action": "chapter.create"}
    for number, atomic in (("a", False), ("b", True), ("c", True)):
        changes = [unknown] if number == "a" else [{**new, "title": number}, unknown, *[unknown] * (number == "b")]
        api.post(f"courses/{course}/save/", {**named, "stepId": number, "atomic": atomic, "changes": changes})
    api.post(f"courses/{course}/save/", {**named, "stepId": "d", "changes": [unknown]})
    runner.run_lane(f"course:{course}")
    again = _retry(api)
    runner.run_lane(f"course:{course}")

    groups = Step.objects.filter(operation__key=again.body["operationId"]).values_list("key", "atomic_group")
    by_key = dict(groups)
    assert by_key["a.0"] is by_key["d.0"] is None
    assert len({by_key["b.0"], by_key["b.1"], by_key["b.2"]}) == len({by_key["c.0"], by_key["c.1"]}) == 1
    assert by_key["b.0"] != by_key["c.0"]
    codes = {step["stepId"]: step["error"]["code"] for step in api.operation(again)["steps"]}
    assert codes["b.0"] == codes["c.0"] == "rolled_back" and codes["a.0"] == codes["d.0"] == "not_found"
    assert api.outline(course)["chapters"] == []
