"""Taking requests: how they name their operation, how many steps they announce, and what is refused."""

from typing import Any
from uuid import UUID

import pytest

from apps.accounts.models import User
from apps.operations.models import Operation, Request, Step
from tests.support.api import ApiClient, events_of


@pytest.fixture
def course(live: ApiClient) -> str:
    """A course that exists; what is asked of it is done at once."""
    return live.course()


def _chapter(title: str = "Chapter", **more: Any) -> dict[str, Any]:
    return {"title": title, **more}


def test_a_request_becomes_an_operation_of_one_step(api: ApiClient) -> None:
    answer = api.post("courses/", {"title": "Python"})

    assert answer.status == 202
    assert answer.headers["Operation-Location"] == f"/api/v1/operations/{answer.body['operationId']}/"
    shown = api.operation(answer)
    course = answer.data["courseId"]
    assert shown == {
        "operationId": answer.body["operationId"],
        "kind": "course.create",
        "status": "pending",
        "expected": 1,
        "succeeded": 0,
        "failed": 0,
        "progress": 0,
        "topic": f"course:{course}",
        "seq": None,
        "createdAt": shown["createdAt"],
        "finishedAt": None,
        "error": None,
        "steps": [
            {"stepId": "1", "action": "course.create", "status": "pending", "data": {"courseId": course}, "error": None}
        ],
    }
    assert shown["createdAt"].endswith("Z")


def test_the_operations_own_id_is_a_uuid_of_version_7_when_the_client_gives_none(api: ApiClient) -> None:
    first, second = (api.post("courses/", {"title": "Same"}).body["operationId"] for _ in range(2))

    assert UUID(first).version == 7
    assert first < second


@pytest.mark.parametrize("key", ["a", "0", "save-1", "a.b_c:d-e", "A" * 128])
def test_a_client_may_name_its_operation_in_the_body_or_a_header_or_both(live: ApiClient, key: str) -> None:
    course = live.course()
    for number, (body, headers) in enumerate(
        [({"operationId": key}, {}), ({}, {"Operation_Id": key}), ({"operationId": key}, {"Operation_Id": key})]
    ):
        Operation.objects.all().delete()
        answer = live.post(f"courses/{course}/chapters/", _chapter(str(number), **body), **headers)
        assert answer.body["operationId"] == key
        assert live.operation(answer)["status"] == "succeeded"


@pytest.mark.parametrize("key", ["", ".a", "-a", "a b", "é", "a/b", "A" * 129, "a\n", 7, ["a"]])
def test_a_name_that_is_none_is_refused(api: ApiClient, key: Any) -> None:
    for field in ("operationId", "stepId"):
        answer = api.post("courses/", {"title": "Python", field: key})
        assert (answer.status, list(answer.error["fields"])) == (400, [field])
    if isinstance(key, str) and key and "\n" not in key:
        for header in ("Operation-Id", "Idempotency-Key"):
            assert list(api.post("courses/", {"title": "Python"}, **{header: key}).error["fields"]) == [header]
    assert not Operation.objects.exists()


@pytest.mark.parametrize(
    ("field", "header", "in_body", "in_header"),
    [
        ("operationId", "Operation-Id", "a", "b"),
        ("stepId", "Idempotency-Key", "a", "b"),
        ("expect", "Operation-Expect", 2, "3"),
    ],
)
def test_a_header_that_contradicts_the_body_is_refused(
    api: ApiClient, field: str, header: str, in_body: Any, in_header: str
) -> None:
    answer = api.post("courses/", {"title": "Python", field: in_body}, **{header: in_header})

    assert (answer.status, list(answer.error["fields"])) == (400, [header])
    assert not Operation.objects.exists()


@pytest.mark.parametrize("expect", [0, -1, 100_001, 1.5, "2", True])
def test_expect_is_a_number_of_steps(api: ApiClient, expect: Any) -> None:
    answer = api.post("courses/", {"title": "Python", "expect": expect})

    assert (answer.status, list(answer.error["fields"])) == (400, ["expect"])


@pytest.mark.parametrize("expect", ["0", "x", "1.5", "100001"])
def test_expect_is_a_number_of_steps_in_a_header_too(api: ApiClient, expect: str) -> None:
    answer = api.post("courses/", {"title": "Python"}, Operation_Expect=expect)

    assert (answer.status, list(answer.error["fields"])) == (400, ["Operation-Expect"])


def test_operations_of_two_users_may_have_the_same_name(live: ApiClient, stranger: User) -> None:
    other = ApiClient(stranger)
    mine = live.post("courses/", {"title": "Mine", "operationId": "same"})
    theirs = other.post("courses/", {"title": "Theirs", "operationId": "same"})

    assert mine.data["courseId"] != theirs.data["courseId"]
    assert live.operation(mine)["topic"] == f"course:{mine.data['courseId']}"
    assert other.operation(theirs)["topic"] == f"course:{theirs.data['courseId']}"


# Several requests


def test_requests_that_share_an_operation_are_its_steps(live: ApiClient, course: str) -> None:
    for n in range(3):
        answer = live.post(f"courses/{course}/chapters/", _chapter(str(n), operationId="op", expect=3, stepId=f"s{n}"))
        assert live.operation(answer)["status"] == ("running" if n < 2 else "succeeded")

    shown = live.operation(answer)
    assert (shown["expected"], shown["succeeded"], shown["progress"]) == (3, 3, 100)
    assert [step["stepId"] for step in shown["steps"]] == ["s0", "s1", "s2"]
    assert events_of(course)[-1]["type"] == "batch-operation-complete"


def test_progress_counts_the_steps_that_ended(live: ApiClient, course: str) -> None:
    answer = live.post(f"courses/{course}/chapters/", _chapter(operationId="op", expect=3))

    assert live.operation(answer)["progress"] == 33


def test_a_save_counts_as_many_steps_as_it_has_changes(live: ApiClient, course: str) -> None:
    changes = [{"action": "chapter.create", "title": str(n)} for n in range(3)]
    live.post(f"courses/{course}/save/", {"operationId": "op", "expect": 4, "stepId": "save", "changes": changes})
    answer = live.post(f"courses/{course}/chapters/", _chapter(operationId="op", expect=4, stepId="single"))

    shown = live.operation(answer)
    assert (shown["kind"], shown["status"], shown["expected"]) == ("save", "succeeded", 4)
    assert [step["stepId"] for step in shown["steps"]] == ["save.0", "save.1", "save.2", "single"]


def test_expect_may_come_in_a_header_and_need_not_be_said_again(live: ApiClient, course: str) -> None:
    live.post(f"courses/{course}/chapters/", _chapter(), Operation_Id="op", Operation_Expect="2", Idempotency_Key="a")
    answer = live.post(f"courses/{course}/chapters/", _chapter(), Operation_Id="op", Idempotency_Key="b")

    assert live.operation(answer)["status"] == "succeeded"


def _nothing_came_of(course: str, live: ApiClient, chapters: int, requests: int) -> None:
    assert len(live.outline(course)["chapters"]) == chapters
    assert Request.objects.filter(operation__key="op").count() == requests
    assert not Step.objects.filter(status="pending").exists()


def test_another_expect_is_a_mismatch_and_nothing_is_taken(live: ApiClient, course: str) -> None:
    live.post(f"courses/{course}/chapters/", _chapter(operationId="op", expect=3, stepId="a"))
    answer = live.post(f"courses/{course}/chapters/", _chapter(operationId="op", expect=4, stepId="b"))

    assert (answer.status, answer.error["code"]) == (422, "idempotency_mismatch")
    _nothing_came_of(course, live, chapters=1, requests=1)


def test_more_steps_than_expected_are_a_conflict_and_nothing_is_taken(live: ApiClient, course: str) -> None:
    live.post(f"courses/{course}/chapters/", _chapter(operationId="op", expect=2, stepId="a"))
    changes = [{"action": "chapter.create", "title": str(n)} for n in range(2)]
    answer = live.post(f"courses/{course}/save/", {"operationId": "op", "stepId": "b", "changes": changes})

    assert (answer.status, answer.error["code"], answer.error["expected"]) == (409, "conflict", 2)
    _nothing_came_of(course, live, chapters=1, requests=1)
    assert live.get("operations/op/").data["status"] == "running"


def test_a_first_request_cannot_bring_more_than_it_expects(live: ApiClient, course: str) -> None:
    changes = [{"action": "chapter.create", "title": str(n)} for n in range(3)]
    answer = live.post(f"courses/{course}/save/", {"operationId": "op", "expect": 2, "changes": changes})

    assert (answer.status, answer.error["code"]) == (409, "conflict")
    assert live.get("operations/op/").status == 404
    _nothing_came_of(course, live, chapters=0, requests=0)


def test_an_operation_that_expects_nothing_takes_one_request(api: ApiClient) -> None:
    api.post("courses/", {"title": "One", "operationId": "op", "stepId": "a"})
    answer = api.post("courses/", {"title": "Two", "operationId": "op", "stepId": "b"})

    assert (answer.status, answer.error["code"]) == (409, "conflict")


def test_an_ended_operation_takes_nothing_more(live: ApiClient, course: str) -> None:
    live.post(f"courses/{course}/chapters/", _chapter(operationId="op", stepId="a"))
    answer = live.post(f"courses/{course}/chapters/", _chapter(operationId="op", stepId="b"))

    assert (answer.status, answer.error["code"], answer.error["status"]) == (409, "conflict", "succeeded")
    _nothing_came_of(course, live, chapters=1, requests=1)


# stepIds


def test_a_save_names_its_steps_after_itself_unless_they_have_names(api: ApiClient, course: str) -> None:
    changes = [
        {"action": "chapter.create", "title": "a"},
        {"action": "chapter.create", "title": "b", "stepId": "mine"},
        {"action": "chapter.create", "title": "c"},
    ]
    default = api.post(f"courses/{course}/save/", {"changes": changes})
    named = api.post(f"courses/{course}/save/", {"stepId": "s", "changes": changes})

    assert [step["stepId"] for step in default.data["steps"]] == ["1.0", "mine", "1.2"]
    assert [step["stepId"] for step in api.operation(named)["steps"]] == ["s.0", "mine", "s.2"]


def test_a_stepid_that_another_request_of_the_operation_used_is_a_mismatch_and_nothing_is_taken(
    live: ApiClient, course: str
) -> None:
    live.post(f"courses/{course}/chapters/", _chapter(operationId="op", expect=9, stepId="x.1"))
    changes = [{"action": "chapter.create", "title": str(n)} for n in range(3)]
    answer = live.post(f"courses/{course}/save/", {"operationId": "op", "stepId": "x", "changes": changes})

    assert (answer.status, answer.error["code"]) == (422, "idempotency_mismatch")
    _nothing_came_of(course, live, chapters=1, requests=1)
    assert live.post(f"courses/{course}/chapters/", _chapter(operationId="op", stepId="x")).status == 202


# tempIds


def test_a_tempid_stands_for_its_id_in_later_requests_of_the_operation(api: ApiClient, course: str) -> None:
    changes = [{"action": "chapter.create", "title": "C", "tempId": "c"}]
    saved = api.post(f"courses/{course}/save/", {"operationId": "op", "expect": 4, "stepId": "1", "changes": changes})
    chapter = saved.data["ids"]["c"]
    by_path = api.post("chapters/c/videos/", {"title": "V", "operationId": "op", "stepId": "2"})
    changes = [{"action": "chapter.update", "chapterId": "c", "title": "Renamed"}]
    by_save = api.post(f"courses/{course}/save/", {"operationId": "op", "stepId": "3", "changes": changes})
    reorder = {"chapterIds": ["c"], "operationId": "op", "stepId": "4"}
    by_list = api.post(f"courses/{course}/chapters/reorder/", reorder)

    assert [answer.status for answer in (by_path, by_save, by_list)] == [202, 202, 202]
    assert Step.objects.get(creates=by_path.data["videoId"]).payload["chapterId"] == chapter
    assert by_save.data["steps"][0]["chapterId"] == chapter


def test_a_tempid_that_was_given_before_in_the_operation_is_refused(api: ApiClient, course: str) -> None:
    named = {"title": "C", "tempId": "c", "operationId": "op", "expect": 3}
    first = api.post(f"courses/{course}/chapters/", {**named, "stepId": "1"})
    again = api.post(f"courses/{course}/chapters/", {**named, "stepId": "1"})
    other = api.post(f"courses/{course}/chapters/", {**named, "stepId": "2"})

    assert (first.status, again.body) == (202, first.body)
    assert (other.status, other.error["fields"]) == (400, {"tempId": ["This tempId is taken."]})
    assert api.get("operations/op/").data["expected"] == 3
    assert Step.objects.get(temp_id="c").creates == UUID(first.data["chapterId"])
    assert api.post(f"courses/{course}/chapters/", {**named, "operationId": "another"}).status == 202


def test_a_tempid_means_nothing_to_another_operation_or_user(api: ApiClient, course: str, stranger: User) -> None:
    changes = [{"action": "chapter.create", "title": "C", "tempId": "c"}]
    api.post(f"courses/{course}/save/", {"operationId": "op", "expect": 9, "changes": changes})

    assert api.post("chapters/c/videos/", {"title": "V", "operationId": "other"}).status == 404
    assert api.post("chapters/c/videos/", {"title": "V"}).status == 404
    assert ApiClient(stranger).post("chapters/c/videos/", {"title": "V", "operationId": "op"}).status == 404
    changes = [{"action": "chapter.update", "chapterId": "c", "title": "x"}]
    assert api.post(f"courses/{course}/save/", {"operationId": "other", "changes": changes}).status == 400
    guest = ApiClient(stranger)
    theirs = {"operationId": "op", "expect": 9, "changes": changes}
    assert guest.post(f"courses/{guest.course()}/save/", theirs).error["code"] == "validation_error"
    again = [{"action": "chapter.create", "title": "Another", "tempId": "c"}]
    taken = api.post(f"courses/{course}/save/", {"operationId": "op", "stepId": "2", "changes": again})
    assert (taken.status, taken.error["code"]) == (400, "validation_error")
