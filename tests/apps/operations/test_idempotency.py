"""The same request again gives the first answer again, and no second effect."""

from typing import Any

import pytest

from apps.accounts.models import User
from apps.operations import runner
from apps.operations.models import Operation, Request
from tests.support.api import Answer, ApiClient


@pytest.fixture
def course(api: ApiClient) -> str:
    course = api.course()
    runner.run_lane(f"course:{course}")
    return course


def _create(api: ApiClient, course: str, title: str = "Chapter", **named: Any) -> Answer:
    return api.post(f"courses/{course}/chapters/", {"title": title, **named})


def _mismatch(answer: Answer) -> bool:
    return (answer.status, answer.error["code"]) == (422, "idempotency_mismatch")


def test_before_and_after_the_end_it_is_answered_as_the_first_time(api: ApiClient, course: str) -> None:
    first = _create(api, course, operationId="op")
    before_the_end = _create(api, course, operationId="op")
    runner.run_lane(f"course:{course}")
    after_the_end = _create(api, course, operationId="op")

    assert first.body == before_the_end.body == after_the_end.body
    assert first.headers["Operation-Location"] == after_the_end.headers["Operation-Location"]
    assert first.status == after_the_end.status == 202
    runner.run_lane(f"course:{course}")
    assert [chapter["id"] for chapter in api.outline(course)["chapters"]] == [first.data["chapterId"]]


def test_a_save_is_answered_with_the_same_ids(api: ApiClient, course: str) -> None:
    body = {"operationId": "op", "changes": [{"action": "chapter.create", "title": "C", "tempId": "c"}]}
    first, second = (api.post(f"courses/{course}/save/", body) for _ in range(2))

    assert first.body == second.body
    assert list(first.data["ids"]) == ["c"]


def test_what_its_own_effect_made_impossible_is_answered_all_the_same(api: ApiClient, course: str) -> None:
    chapter = _create(api, course).data["chapterId"]
    runner.run_lane(f"course:{course}")
    rename = {"title": "New", "baseVersion": 1, "operationId": "rename"}
    renamed = api.patch(f"chapters/{chapter}/", rename)
    deleted = api.delete(f"chapters/{chapter}/", {"operationId": "delete"})
    runner.run_lane(f"course:{course}")

    assert api.patch(f"chapters/{chapter}/", rename).body == renamed.body
    assert api.delete(f"chapters/{chapter}/", {"operationId": "delete"}).body == deleted.body


def test_another_body_is_a_mismatch_before_and_after_the_end(api: ApiClient, course: str) -> None:
    _create(api, course, operationId="op")
    assert _mismatch(_create(api, course, "Another", operationId="op"))
    runner.run_lane(f"course:{course}")
    assert _mismatch(_create(api, course, "Another", operationId="op"))
    runner.run_lane(f"course:{course}")

    assert len(api.outline(course)["chapters"]) == 1


def test_another_path_or_method_is_a_mismatch(api: ApiClient, course: str) -> None:
    chapter = _create(api, course).data["chapterId"]
    api.patch(f"chapters/{chapter}/", {"title": "T", "operationId": "op"})

    assert _mismatch(_create(api, course, "T", operationId="op"))
    assert _mismatch(api.delete(f"chapters/{chapter}/", {"operationId": "op"}))


def test_bodies_are_compared_after_parsing(api: ApiClient, course: str) -> None:
    spaced = b'{ "operationId": "op",\n "title": "\\u00dcber", "position": 0 }'
    dense = '{"position":0,"title":"Über","operationId":"op"}'.encode()
    first = api.request("POST", f"courses/{course}/chapters/", spaced)

    assert api.request("POST", f"courses/{course}/chapters/", dense).body == first.body
    assert _mismatch(api.request("POST", f"courses/{course}/chapters/", dense.replace(b":0,", b":1,")))


def test_where_a_request_is_named_makes_no_difference(api: ApiClient, course: str) -> None:
    first = _create(api, course, operationId="op", stepId="s", expect=2)
    second = api.post(
        f"courses/{course}/chapters/",
        {"title": "Chapter"},
        Operation_Id="op",
        Idempotency_Key="s",
        Operation_Expect="2",
    )

    assert first.body == second.body


def test_the_default_stepid_is_1(api: ApiClient, course: str) -> None:
    first = _create(api, course, operationId="op")

    assert _create(api, course, operationId="op", stepId="1").body == first.body


def test_without_a_name_the_same_request_is_another(api: ApiClient, course: str) -> None:
    first, second = _create(api, course), _create(api, course)
    third, fourth = _create(api, course, stepId="s"), _create(api, course, stepId="s")

    assert len({answer.data["chapterId"] for answer in (first, second, third, fourth)}) == 4


# Idempotency-Key alone, as clients of other services know it


def test_an_idempotency_key_alone_makes_a_request_repeatable(api: ApiClient, course: str) -> None:
    path, body = f"courses/{course}/chapters/", {"title": "Chapter"}
    first = api.post(path, body, Idempotency_Key="8e03978e-40d5-43dd-bc93-6894a57f9324")
    runner.run_lane(f"course:{course}")
    again = api.post(path, body, Idempotency_Key="8e03978e-40d5-43dd-bc93-6894a57f9324")
    other = api.post(path, body, Idempotency_Key="another")

    assert first.body == again.body
    assert other.data["chapterId"] != first.data["chapterId"]
    assert _mismatch(api.post(path, {"title": "Another"}, Idempotency_Key="another"))
    assert api.operation(first)["steps"][0]["stepId"] == "8e03978e-40d5-43dd-bc93-6894a57f9324"


def test_two_users_idempotency_keys_have_nothing_to_do_with_each_other(api: ApiClient, stranger: User) -> None:
    first = api.post("courses/", {"title": "Course"}, Idempotency_Key="k")
    second = ApiClient(stranger).post("courses/", {"title": "Course"}, Idempotency_Key="k")

    assert first.body["operationId"] != second.body["operationId"]
    assert first.data["courseId"] != second.data["courseId"]


# Refused requests


def test_a_refused_request_leaves_its_key_free(api: ApiClient, course: str) -> None:
    chapter = _create(api, course).data["chapterId"]
    runner.run_lane(f"course:{course}")
    refused = [
        _create(api, course, "", operationId="op"),
        api.request("POST", f"courses/{course}/chapters/", b"{", Operation_Id="op"),
        api.patch(f"courses/{chapter}/", {"title": "T", "operationId": "op"}),
        api.patch(f"chapters/{chapter}/", {"title": "T", "baseVersion": 9, "operationId": "op"}),
        api.post(f"courses/{course}/chapters/reorder/", {"chapterIds": [], "operationId": "op"}),
        api.post(
            f"courses/{course}/save/",
            {
                "operationId": "op",
                "expect": 1,
                "changes": [{"action": "chapter.create", "title": "x"}] * 2,
            },
        ),
    ]
    assert [answer.status for answer in refused] == [400, 400, 404, 409, 409, 409]
    assert not Operation.objects.filter(key="op").exists()
    assert api.get("operations/op/").status == 404

    assert _create(api, course, "At last", operationId="op").status == 202
    assert Request.objects.filter(operation__key="op").count() == 1


def test_a_forgotten_operations_name_is_free_again(api: ApiClient, course: str) -> None:
    first = _create(api, course, operationId="op")
    runner.run_lane(f"course:{course}")
    Operation.objects.filter(key="op").delete()

    assert _create(api, course, "Another", operationId="op").data["chapterId"] != first.data["chapterId"]


def test_an_answer_survives_being_stored_whatever_is_in_it(api: ApiClient, course: str) -> None:
    body = {
        "operationId": "op",
        "changes": [{"action": "chapter.create", "title": "🎓", "tempId": "ключ 🗝 \u0001"}],
    }
    first, second = (api.post(f"courses/{course}/save/", body) for _ in range(2))

    assert first.body == second.body
