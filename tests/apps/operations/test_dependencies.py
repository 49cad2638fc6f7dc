"""What builds on a creation that failed fails too, and says so, in whichever request it came."""

from typing import Any

import pytest

from apps.accounts import services as accounts
from apps.operations import runner
from apps.operations.models import Step
from tests.support.api import Answer, ApiClient, events_of


@pytest.fixture(params=["in one transaction", "in many"])
def lane_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a course's lane: all at once, so that the failure is known in memory, or each step alone."""
    if request.param == "in many":
        monkeypatch.setattr(runner, "STEPS_AT_ONCE", 1)
    return lambda course: runner.run_lane(f"course:{course}")


@pytest.fixture
def course(api: ApiClient) -> str:
    course = api.course()
    runner.run_lane(f"course:{course}")
    return course


def _error(api: ApiClient, answer: Answer) -> str:
    return str(api.operation(answer)["steps"][0]["error"]["code"])


def test_changes_to_what_could_not_be_created_fail(api: ApiClient, course: str, lane_of: Any) -> None:
    chapter, other = api.chapter(course), api.chapter(course)
    lane_of(course)
    api.delete(f"chapters/{chapter}/")
    created = api.post(f"chapters/{chapter}/videos/", {"title": "V"})
    video = created.data["videoId"]
    dependents = [
        api.patch(f"videos/{video}/", {"title": "Renamed"}),
        api.post(f"videos/{video}/move/", {"chapterId": other}),
        api.delete(f"videos/{video}/"),
    ]
    lane_of(course)

    assert _error(api, created) == "not_found"
    assert [_error(api, answer) for answer in dependents] == ["dependency_failed"] * 3
    failed = [event for event in events_of(course) if event["type"] == "operation-failed"]
    assert [event["data"]["error"]["code"] for event in failed] == ["not_found", *["dependency_failed"] * 3]
    assert failed[1]["data"]["videoId"] == video


@pytest.mark.parametrize("at_once", [2_000, 1])
def test_a_list_that_names_what_could_not_be_created_fails(
    api: ApiClient, course: str, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    doomed, other = api.chapter(course), api.chapter(course)
    runner.run_lane(f"course:{course}")
    monkeypatch.setattr(runner, "STEPS_AT_ONCE", at_once)
    api.delete(f"chapters/{doomed}/")
    video = api.video(doomed)
    reorder = api.post(f"chapters/{other}/videos/reorder/", {"videoIds": [video]})
    runner.run_lane(f"course:{course}")

    assert _error(api, reorder) == "dependency_failed"


def test_a_chain_of_creations_fails_from_its_first(api: ApiClient, course: str, lane_of: Any) -> None:
    api.delete(f"courses/{course}/")
    chapter = api.post(f"courses/{course}/chapters/", {"title": "C"})
    video = api.post(f"chapters/{chapter.data['chapterId']}/videos/", {"title": "V"})
    api.post(f"courses/{course}/restore/")
    renamed = api.patch(f"videos/{video.data['videoId']}/", {"title": "Renamed"})
    lane_of(course)

    assert [_error(api, answer) for answer in (chapter, video, renamed)] == ["gone", "gone", "dependency_failed"]


def test_a_tempid_of_an_earlier_request_fails_what_names_it(api: ApiClient, course: str, lane_of: Any) -> None:
    changes = [
        {"action": "chapter.create", "title": "C", "tempId": "c"},
        {"action": "chapter.update", "chapterId": course, "title": "There is no such chapter"},
    ]
    named = {"operationId": "op", "expect": 5}
    api.post(f"courses/{course}/save/", {**named, "stepId": "a", "atomic": True, "changes": changes})
    changes = [
        {"action": "video.create", "title": "V", "chapterId": "c", "tempId": "v"},
        {"action": "video.update", "videoId": "v", "title": "Renamed"},
        {"action": "course.update", "title": "Stands alone"},
    ]
    api.post(f"courses/{course}/save/", {**named, "stepId": "b", "changes": changes})
    lane_of(course)

    shown = api.get("operations/op/").data
    codes = {step["stepId"]: (step["error"] or {}).get("code") for step in shown["steps"]}
    assert codes == {
        "a.0": "rolled_back",
        "a.1": "not_found",
        "b.0": "dependency_failed",
        "b.1": "dependency_failed",
        "b.2": None,
    }
    assert shown["status"] == "partial"
    types = [event["type"] for event in events_of(course)][1:]
    assert types == [*["operation-failed"] * 3, "course-update-complete", "batch-operation-complete"]
    assert api.get(f"courses/{course}/").data["title"] == "Stands alone"


def test_after_a_failed_creation_its_id_is_not_known_any_more(api: ApiClient, course: str) -> None:
    api.delete(f"courses/{course}/")
    chapter = api.post(f"courses/{course}/chapters/", {"title": "C"}).data["chapterId"]
    runner.run_lane(f"course:{course}")
    api.post(f"courses/{course}/restore/")
    runner.run_lane(f"course:{course}")

    assert api.patch(f"chapters/{chapter}/", {"title": "x"}).status == 404


def test_what_was_created_when_it_was_tried_again_is_not_there_when_it_is_deleted(
    api: ApiClient, course: str, lane_of: Any
) -> None:
    created = api.post(f"courses/{course}/chapters/", {"title": "C", "operationId": "op"})
    api.post("operations/op/cancel/")
    api.post("operations/op/retry/")
    lane_of(course)
    api.delete(f"chapters/{created.data['chapterId']}/")
    lane_of(course)
    changes = [{"action": "chapter.update", "chapterId": created.data["chapterId"], "title": "x"}]
    late = api.post(f"courses/{course}/save/", {"changes": changes})
    lane_of(course)

    assert _error(api, late) == "not_found"


def test_what_was_asked_for_before_another_try_fails_whatever_becomes_of_that(
    api: ApiClient, course: str, lane_of: Any
) -> None:
    chapter = api.post(f"courses/{course}/chapters/", {"title": "C", "operationId": "op"}).data["chapterId"]
    dependents = [
        api.patch(f"chapters/{chapter}/", {"title": "Renamed"}),
        api.post(f"chapters/{chapter}/videos/", {"title": "V"}),
        api.delete(f"chapters/{chapter}/"),
    ]
    api.post("operations/op/cancel/")
    retried = api.post("operations/op/retry/")
    lane_of(course)

    assert [_error(api, answer) for answer in dependents] == ["dependency_failed"] * 3
    assert api.operation(retried)["status"] == "succeeded"
    assert [row["title"] for row in api.outline(course)["chapters"]] == ["C"]


def test_what_was_asked_for_before_another_try_at_its_course_fails(api: ApiClient, lane_of: Any) -> None:
    course = api.post("courses/", {"title": "C", "operationId": "op"}).data["courseId"]
    chapter = api.post(f"courses/{course}/chapters/", {"title": "C"})
    api.post("operations/op/cancel/")
    retried = api.post("operations/op/retry/")
    lane_of(course)

    assert _error(api, chapter) == "dependency_failed"
    assert api.operation(retried)["status"] == "succeeded"
    assert api.outline(course)["chapters"] == []


def test_what_another_try_created_is_there_and_can_be_gone(api: ApiClient, course: str, lane_of: Any) -> None:
    chapter = api.post(f"courses/{course}/chapters/", {"title": "C", "operationId": "op"}).data["chapterId"]
    before = api.patch(f"chapters/{chapter}/", {"title": "Too soon"})
    api.post("operations/op/cancel/")
    api.post("operations/op/retry/")
    deletions = [api.delete(f"chapters/{chapter}/") for _ in range(2)]
    lane_of(course)

    assert _error(api, before) == "dependency_failed"
    steps = [api.operation(answer)["steps"][0] for answer in deletions]
    assert [step["status"] for step in steps] == ["succeeded"] * 2
    assert [step["data"].get("alreadyGone") for step in steps] == [None, True]


def test_a_course_creation_that_crashed_is_told_to_its_submitter(api: ApiClient) -> None:
    created = api.post("courses/", {"title": "Never"})
    Step.objects.update(payload={"courseId": created.data["courseId"]})
    runner.run_lane(f"course:{created.data['courseId']}")

    shown = api.operation(created)
    assert (shown["status"], shown["steps"][0]["error"]["code"]) == ("failed", "internal_error")
    assert events_of(created.data["courseId"]) == []
    (told,) = events_of(f"user:{api.user.pk}")
    assert (told["type"], told["operationId"]) == ("operation-failed", shown["operationId"])
    assert (shown["topic"], shown["seq"]) == (f"user:{api.user.pk}", told["seq"])


def test_a_course_whose_owner_was_disabled_before_it_was_there_is_not_created(api: ApiClient) -> None:
    created = api.post("courses/", {"title": "Never"})
    course = created.data["courseId"]
    chapter = api.post(f"courses/{course}/chapters/", {"title": "C"})
    key, other = created.body["operationId"], chapter.body["operationId"]
    accounts.disable(api.user)
    runner.run_lane(f"course:{course}")

    told = [event for event in events_of(f"user:{api.user.pk}") if event["type"] == "operation-failed"]
    assert [event["operationId"] for event in told] == [key, other]
    assert [event["data"]["error"]["code"] for event in told] == ["permission_denied", "dependency_failed"]
    assert events_of(course) == []
