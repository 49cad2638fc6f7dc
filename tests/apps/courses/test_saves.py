"""The consolidated save."""

from typing import Any
from uuid import uuid4

import pytest

from apps.operations import runner
from apps.operations.models import Operation, Step
from tests.support.api import Answer, ApiClient, events_of


def save(api: ApiClient, course: str, *changes: dict[str, Any], **more: Any) -> Answer:
    return api.post(f"courses/{course}/save/", {"changes": list(changes), **more})


def add_chapter(title: str = "New", **more: Any) -> dict[str, Any]:
    return {"action": "chapter.create", "title": title, **more}


def test_a_save_of_everything_is_one_operation_with_an_event_a_change(live: ApiClient) -> None:
    course = live.course()
    a, b = live.chapter(course, "A"), live.chapter(course, "B")
    v = live.video(a)
    before = len(events_of(course))
    answer = save(
        live,
        course,
        {"action": "course.update", "title": "Renamed"},
        {"action": "chapter.update", "chapterId": a, "title": "A2"},
        add_chapter("C", tempId="c", position=0),
        {"action": "video.create", "chapterId": "c", "title": "W", "tempId": "w", "filename": "w.mp4"},
        {"action": "video.move", "videoId": v, "chapterId": "c", "position": 0},
        {"action": "video.update", "videoId": "w", "title": "W2"},
        {"action": "video.reorder", "chapterId": "c", "videoIds": ["w", v]},
        {"action": "chapter.reorder", "chapterIds": [a, "c", b]},
        {"action": "chapter.delete", "chapterId": b},
        {"action": "video.delete", "videoId": v},
    )

    ids = answer.data["ids"]
    assert list(ids) == ["c", "w"]
    events = events_of(course)[before:]
    assert [event["type"] for event in events] == [
        "course-update-complete",
        "chapter-update-complete",
        "chapter-create-complete",
        "video-create-complete",
        "video-move-complete",
        "video-update-complete",
        "video-reorder-complete",
        "chapter-reorder-complete",
        "chapter-delete-complete",
        "video-delete-complete",
        "batch-operation-complete",
    ]
    assert {event["operationId"] for event in events} == {answer.body["operationId"]}
    assert events[-1]["data"]["status"] == "succeeded"
    assert [r["stepId"] for r in events[-1]["data"]["results"]] == [f"1.{n}" for n in range(10)]
    assert events[3]["data"] | {"tempId": "w", "videoId": ids["w"], "chapterId": ids["c"]} == events[3]["data"]
    outline = live.outline(course)
    assert [(c["title"], [v["title"] for v in c["videos"]]) for c in outline["chapters"]] == [("A2", []), ("C", ["W2"])]
    assert live.operation(answer)["seq"] == outline["seq"] == events[-1]["seq"]


def test_a_save_of_one_change_has_its_completion_too(live: ApiClient) -> None:
    course = live.course()
    answer = save(live, course, add_chapter())

    assert events_of(course)[-1]["type"] == "batch-operation-complete"
    assert live.operation(answer)["kind"] == "save"


def test_a_change_that_fails_leaves_the_others_alone(live: ApiClient) -> None:
    course = live.course()
    kept = live.chapter(course)
    answer = save(
        live,
        course,
        {
            "action": "chapter.update",
            "chapterId": "0190a8c4-7b1e-7c3a-9d2e-5f6a7b8c9d0e",
            "title": "x",
            "stepId": "bad",
        },
        {"action": "chapter.update", "chapterId": kept, "title": "fine"},
        {"action": "video.reorder", "chapterId": kept, "videoIds": [kept]},
        {"action": "chapter.update", "chapterId": kept, "title": "stale", "baseVersion": 1},
    )

    events = events_of(course)[-5:]
    assert [event["type"] for event in events] == [
        "operation-failed",
        "chapter-update-complete",
        "operation-failed",
        "operation-failed",
        "batch-operation-complete",
    ]
    assert events[0]["data"] == {
        "stepId": "bad",
        "action": "chapter.update",
        "error": {"code": "not_found", "message": "There is no such chapter in this course."},
        "chapterId": "0190a8c4-7b1e-7c3a-9d2e-5f6a7b8c9d0e",
    }
    assert events[3]["data"]["error"] | {"code": "version_conflict", "currentVersion": 2} == events[3]["data"]["error"]
    operation = live.operation(answer)
    assert (operation["status"], operation["succeeded"], operation["failed"]) == ("partial", 1, 3)


def test_atomic_means_all_or_none(live: ApiClient) -> None:
    course = live.course()
    answer = save(
        live,
        course,
        add_chapter(tempId="t"),
        {"action": "video.create", "chapterId": "t", "title": "v"},
        {"action": "chapter.reorder", "chapterIds": []},
        add_chapter("never"),
        atomic=True,
    )

    assert [event["type"] for event in events_of(course)[1:]] == ["operation-failed", "batch-operation-complete"]
    codes = [step["error"]["code"] for step in live.operation(answer)["steps"]]
    assert codes == ["rolled_back", "rolled_back", "conflict", "rolled_back"]
    assert live.outline(course)["chapters"] == []
    operation = live.operation(answer)
    assert (operation["status"], operation["error"]["code"]) == ("failed", "conflict")


def test_a_deletion_of_what_another_change_deleted_is_done_already(live: ApiClient) -> None:
    course = live.course()
    chapter = live.chapter(course)
    video = live.video(chapter)
    answer = save(
        live,
        course,
        {"action": "chapter.delete", "chapterId": chapter},
        {"action": "video.delete", "videoId": video},
        {"action": "video.delete", "videoId": "0190a8c4-7b1e-7c3a-9d2e-5f6a7b8c9d0e"},
    )

    steps = live.operation(answer)["steps"]
    assert [step["status"] for step in steps] == ["succeeded", "succeeded", "failed"]
    assert steps[1]["data"] == {"videoId": video, "chapterId": chapter, "alreadyGone": True}
    assert events_of(course)[-3]["data"] == {"videoId": video, "chapterId": chapter}


@pytest.mark.parametrize("there", [True, False])
def test_a_deletion_that_names_something_of_another_kind_fails(api: ApiClient, there: bool) -> None:
    course = api.course()
    chapter = api.chapter(course)
    video = api.video(chapter)
    if there:
        runner.run_lane(f"course:{course}")
    answer = save(
        api,
        course,
        {"action": "chapter.update", "chapterId": chapter, "title": "Named"},
        {"action": "video.update", "videoId": video, "title": "Named"},
        {"action": "chapter.delete", "chapterId": video},
        {"action": "video.delete", "videoId": chapter},
    )
    runner.run_lane(f"course:{course}")

    codes = [(step["error"] or {}).get("code") for step in api.operation(answer)["steps"]]
    assert codes == [None, None, "not_found", "not_found"]


def test_many_failures_are_cut_in_the_completion_and_whole_in_the_operation(live: ApiClient) -> None:
    course = live.course()
    bad = {"action": "chapter.update", "chapterId": "0190a8c4-7b1e-7c3a-9d2e-5f6a7b8c9d0e", "title": "x"}
    answer = save(live, course, *[add_chapter(str(n)) for n in range(10)], *[bad] * 60)

    completion = events_of(course)[-1]["data"]
    assert (completion["succeeded"], completion["failed"], completion["truncated"]) == (10, 60, True)
    assert [result["status"] for result in completion["results"]] == ["failed"] * 50
    assert len(live.operation(answer)["steps"]) == 70


def test_two_thousand_changes_are_one_save(live: ApiClient) -> None:
    course = live.course()
    answer = save(live, course, *[add_chapter(str(n), position=0) for n in range(2000)])

    assert live.operation(answer)["succeeded"] == 2000
    assert len(live.outline(course)["chapters"]) == 2000


_ID = "0190a8c4-7b1e-7c3a-9d2e-5f6a7b8c9d0e"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ([], "changes"),
        ([add_chapter()] * 2001, "changes"),
        ([{"action": "chapter.explode"}], "changes.0"),
        ([{"title": "no action"}], "changes.0"),
        ([add_chapter(extra=1)], "changes.0.extra"),
        ([add_chapter(title=7)], "changes.0.title"),
        ([add_chapter(title="")], "changes.0.title"),
        ([add_chapter(title="x" * 256)], "changes.0.title"),
        ([add_chapter(title="a\x00b")], "changes.0.title"),
        ([add_chapter(position=-1)], "changes.0.position"),
        ([add_chapter(position="0")], "changes.0.position"),
        ([{"action": "video.move", "videoId": _ID, "chapterId": "unknown"}], "changes.0.chapterId"),
        ([{"action": "video.create", "chapterId": "l", "title": "x"}, add_chapter(tempId="l")], "changes.0.chapterId"),
        ([add_chapter(tempId="t"), add_chapter(tempId="t")], "changes.1.tempId"),
        ([add_chapter(tempId="t"), {"action": "video.update", "videoId": "t", "title": "x"}], "changes.1.videoId"),
        ([add_chapter(tempId="a/b")], "changes.0.tempId"),
        ([add_chapter(stepId="s"), add_chapter(stepId="s")], "changes"),
        ([add_chapter(stepId="1.1"), add_chapter()], "changes"),
    ],
)  # fmt: skip
def test_what_is_malformed_refuses_the_whole_save(api: ApiClient, changes: list[Any], field: str) -> None:
    course = api.course()
    runner.run_lane(f"course:{course}")
    steps = Step.objects.count()
    answer = save(api, course, *changes, operationId="op")

    assert (answer.status, answer.error["code"]) == (400, "validation_error")
    assert list(answer.error["fields"]) == [field]
    assert Step.objects.count() == steps
    assert not Operation.objects.filter(key="op").exists()


def test_temp_ids_are_known_to_later_requests_of_the_same_operation(live: ApiClient) -> None:
    course = live.course()
    first = save(live, course, add_chapter(tempId="t"), operationId="op", expect=4)
    chapter = first.data["ids"]["t"]
    second = save(
        live, course, {"action": "video.create", "chapterId": "t", "title": "v"}, operationId="op", expect=4, stepId="2"
    )
    third = live.post("chapters/t/videos/", {"title": "w", "operationId": "op", "expect": 4, "stepId": "3"})
    video = third.data["videoId"]
    taken = save(live, course, add_chapter(tempId="t"), operationId="op", expect=4, stepId="4")
    fourth = live.post(
        f"videos/{video}/move/", {"chapterId": "t", "position": 0, "operationId": "op", "expect": 4, "stepId": "5"}
    )

    assert [answer.status for answer in (second, third, taken, fourth)] == [202, 202, 400, 202]
    assert [v["title"] for v in live.outline(course)["chapters"][0]["videos"]] == ["w", "v"]
    assert live.get(f"chapters/{chapter}/").status == 200
    assert [event["type"] for event in events_of(course)].count("batch-operation-complete") == 1
    assert live.post("chapters/t/videos/", {"title": "x"}).status == 404


def test_a_temp_id_that_looks_like_an_id_is_known_to_later_saves(live: ApiClient) -> None:
    course, temp_id = live.course(), str(uuid4())
    named = {"operationId": "op", "expect": 2}
    live.post(f"courses/{course}/chapters/", {"title": "c", "tempId": temp_id, "stepId": "1", **named})
    save(live, course, {"action": "video.create", "chapterId": temp_id, "title": "v"}, **named, stepId="2")

    assert [video["title"] for video in live.outline(course)["chapters"][0]["videos"]] == ["v"]


@pytest.mark.parametrize("path", ["chapters/%00/videos/", "media/%00/links/"])
def test_a_name_that_cannot_be_stored_names_nothing(api: ApiClient, path: str) -> None:
    body = {"title": "v"} if path.startswith("chapters") else {"targetType": "course", "targetId": str(uuid4())}
    assert api.post(path, body, operation_id="op").status == 404


def test_ids_of_another_course_fail_their_change(live: ApiClient) -> None:
    course, other = live.course(), live.course()
    foreign = live.chapter(other)
    answer = save(live, course, {"action": "chapter.update", "chapterId": foreign, "title": "stolen"})

    assert live.operation(answer)["steps"][0]["error"]["code"] == "not_found"
    assert live.get(f"chapters/{foreign}/").data["title"] == "Chapter"
