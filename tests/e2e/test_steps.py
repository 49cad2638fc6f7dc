"""Steps that fail: each says why, takes down what builds on it, and nothing else."""

import pytest

from demo.client import Api, Json
from tests.support.stack import Audience, Cast, Course, Site, refusal

MISSING = "01900000-0000-7000-8000-000000000000"


def outcomes(operation: Json) -> list[str]:
    """What became of each step: its status, or why it failed."""
    return [step["error"]["code"] if step["error"] else step["status"] for step in operation["steps"]]


def test_a_failed_change_is_told_and_the_others_stand(course: Course, owner: Api, audience: Audience) -> None:
    operation = owner.wait(
        course.save(
            owner,
            {"action": "chapter.update", "chapterId": course.chapters[0], "title": "Stands"},
            {"action": "chapter.update", "chapterId": MISSING, "title": "Fails", "stepId": "bad"},
            {"action": "chapter.update", "chapterId": course.chapters[1], "title": "Stands too"},
        ).operation_id
    )

    assert (operation["status"], operation["succeeded"], operation["failed"]) == ("partial", 2, 1)
    _, failed, _, end = audience.hears(operation)
    error = operation["steps"][1]["error"]
    assert failed["type"] == "operation-failed" and error["code"] == "not_found" and error["message"]
    ids = {"stepId": "bad", "action": "chapter.update", "chapterId": MISSING}
    assert failed["data"] == {**ids, "error": error}
    assert end["data"]["results"][1] == {**ids, "status": "failed", "error": error}
    assert end["data"]["results"][0]["error"] is None and operation["error"] == error


def test_a_failure_takes_down_only_what_names_its_temp_id(course: Course, owner: Api, audience: Audience) -> None:
    operation = owner.wait(
        course.save(
            owner,
            {"action": "video.create", "tempId": "v", "chapterId": MISSING, "title": "No home"},
            {"action": "video.update", "videoId": "v", "title": "Of no video"},
            {"action": "video.move", "videoId": "v", "chapterId": course.chapters[0]},
            {"action": "video.reorder", "chapterId": course.chapters[0], "videoIds": [*course.videos[0], "v"]},
            {"action": "video.delete", "videoId": "v"},
            {"action": "chapter.create", "tempId": "c", "title": "Fine"},
            {"action": "chapter.update", "chapterId": "c", "title": "Finer"},
        ).operation_id
    )

    assert outcomes(operation) == ["not_found", *["dependency_failed"] * 4, "succeeded", "succeeded"]
    types = [event["type"] for event in audience.hears(operation)]
    told = ["chapter-create-complete", "chapter-update-complete", "batch-operation-complete"]
    assert types == [*["operation-failed"] * 5, *told]


def test_requests_that_build_on_a_creation_that_fails(
    course: Course, owner: Api, site: Site, audience: Audience
) -> None:
    with site.paused():
        doomed = owner.delete(f"chapters/{course.chapters[0]}/")
        created = owner.post(f"chapters/{course.chapters[0]}/videos/", {"title": "Too late"})
        renamed = owner.patch(f"videos/{created.data['videoId']}/", {"title": "Later still"})

    operations = [owner.wait(answer.operation_id) for answer in (doomed, created, renamed)]
    assert [operation["status"] for operation in operations] == ["succeeded", "failed", "failed"]
    assert [outcomes(operation) for operation in operations] == [["succeeded"], ["not_found"], ["dependency_failed"]]
    assert [event["type"] for event in audience.hears(*operations)][1:] == ["operation-failed"] * 2
    assert owner.patch(f"videos/{created.data['videoId']}/", {"title": "x"}).status in (404, 202)


def test_all_or_none(course: Course, owner: Api, audience: Audience) -> None:
    operation = owner.wait(
        course.save(
            owner,
            {"action": "chapter.create", "tempId": "c", "title": "New"},
            {"action": "video.move", "videoId": course.videos[0][0], "chapterId": "c"},
            {"action": "chapter.update", "chapterId": MISSING, "title": "Fails", "stepId": "bad"},
            {"action": "course.update", "title": "Never"},
            atomic=True,
        ).operation_id
    )

    assert (operation["status"], operation["succeeded"], operation["failed"]) == ("failed", 0, 4)
    assert outcomes(operation) == ["rolled_back", "rolled_back", "not_found", "rolled_back"]
    failed, end = audience.hears(operation)
    assert (failed["type"], failed["data"]["stepId"]) == ("operation-failed", "bad")
    codes = [result["error"]["code"] for result in end["data"]["results"]]
    assert (end["type"], codes) == ("batch-operation-complete", outcomes(operation))
    unchanged = course.read(owner)
    assert (unchanged["chapters"], unchanged["course"]) == (audience.before["chapters"], audience.before["course"])


def test_all_of_them_when_none_fails(course: Course, owner: Api, audience: Audience) -> None:
    changes = [
        {"action": "chapter.create", "tempId": "c", "title": "New"},
        {"action": "video.create", "chapterId": "c", "title": "In it"},
    ]
    assert len(audience.hears(owner.done(course.save(owner, *changes, atomic=True)))) == 3


def test_a_stale_version_is_refused_at_once(course: Course, owner: Api, editor: Api) -> None:
    things = [course.path, f"chapters/{course.chapters[0]}/", f"videos/{course.videos[0][0]}/"]
    for path in things:
        editor.done(editor.patch(path, {"title": "Newer"}))
        stale = owner.patch(path, {"title": "Mine", "baseVersion": 1})
        assert refusal(stale) == (409, "version_conflict")
        assert stale.body["error"]["currentVersion"] == 2
        assert refusal(owner.patch(path, {"title": "Mine", "baseVersion": 3})) == (409, "version_conflict")
        assert owner.get(path).data["title"] == "Newer"
        owner.done(owner.patch(path, {"title": "Mine", "baseVersion": 2}))
    assert refusal(owner.delete(things[1], {"baseVersion": 2})) == (409, "version_conflict")
    assert refusal(owner.delete(things[2], {"baseVersion": 2})) == (409, "version_conflict")
    move = owner.post(f"{things[2]}move/", {"chapterId": course.chapters[1], "baseVersion": 2})
    assert refusal(move) == (409, "version_conflict")


def test_a_version_that_goes_stale_on_the_way_fails_in_the_worker(
    course: Course, owner: Api, editor: Api, site: Site, audience: Audience
) -> None:
    path = f"chapters/{course.chapters[0]}/"
    with site.paused():
        first = owner.patch(path, {"title": "First", "baseVersion": 1})
        second = editor.patch(path, {"title": "Second", "baseVersion": 1})
        third = owner.patch(path, {"title": "Third", "baseVersion": 2})

    owner.done(first)
    stale = editor.wait(second.operation_id)
    assert stale["error"]["code"] == "version_conflict" and stale["error"]["currentVersion"] == 2
    event = audience.hears(owner.done(third))[1]
    assert event["type"] == "operation-failed" and event["data"]["error"] == stale["error"]
    assert event["data"]["chapterId"] == course.chapters[0] and event["seq"] == stale["seq"]
    assert owner.get(path).data["title"] == "Third"


def test_a_stale_version_in_a_save_fails_its_change_only(course: Course, owner: Api, audience: Audience) -> None:
    chapter = course.chapters[0]
    operation = owner.wait(
        course.save(
            owner,
            {"action": "chapter.update", "chapterId": chapter, "title": "A", "baseVersion": 1},
            {"action": "chapter.update", "chapterId": chapter, "title": "B", "baseVersion": 1},
            {"action": "chapter.update", "chapterId": chapter, "title": "C", "baseVersion": 2},
        ).operation_id
    )

    assert outcomes(operation) == ["succeeded", "version_conflict", "succeeded"]
    assert operation["steps"][1]["error"]["currentVersion"] == 2
    audience.hears(operation)


def test_deleting_what_goes_on_the_way_is_done(course: Course, owner: Api, site: Site, audience: Audience) -> None:
    video, chapter = course.videos[0][0], course.chapters[1]
    with site.paused():
        answers = [owner.delete(f"videos/{video}/") for _ in range(2)]
        answers += [owner.delete(f"chapters/{chapter}/") for _ in range(2)]

    operations = [owner.done(answer) for answer in answers]
    gone = [operation["steps"][0]["data"].get("alreadyGone", False) for operation in operations]
    assert gone == [False, True, False, True]
    assert [event["type"] for event in audience.hears(*operations)][::2] == [
        "video-delete-complete",
        "chapter-delete-complete",
    ]
    assert (
        refusal(owner.delete(f"videos/{video}/"))
        == refusal(owner.delete(f"chapters/{chapter}/"))
        == (
            404,
            "not_found",
        )
    )


def test_rights_lost_on_the_way_are_missed_where_the_work_is_done(
    course: Course, cast: Cast, site: Site, owner: Api
) -> None:
    with site.paused():
        removed = owner.delete(f"{course.path}members/{cast.editor.user['id']}/")
        edit = cast.editor.patch(f"chapters/{course.chapters[0]}/", {"title": "Too late"})
        save = course.save(cast.editor, {"action": "chapter.delete", "chapterId": course.chapters[1]})

    owner.done(removed)
    for answer in (edit, save):
        operation = cast.editor.wait(answer.operation_id)
        assert (operation["status"], outcomes(operation)) == ("failed", ["permission_denied"])
    assert [row["title"] for row in course.read(owner)["chapters"]] == ["Chapter 0", "Chapter 1"]


def test_edits_that_a_deletion_of_the_course_overtakes(
    course: Course, owner: Api, editor: Api, site: Site, audience: Audience
) -> None:
    with site.paused():
        deleted = owner.delete(course.path)
        edit = editor.patch(f"chapters/{course.chapters[0]}/", {"title": "Too late"})

    owner.done(deleted)
    failed = editor.wait(edit.operation_id)
    assert outcomes(failed) == ["gone"]
    audience.hears(failed)


@pytest.mark.parametrize("atomic", [False, True])
def test_a_save_that_fails_whole_has_failed(course: Course, owner: Api, audience: Audience, atomic: bool) -> None:
    change = {"action": "video.move", "videoId": MISSING, "chapterId": course.chapters[0]}
    operation = owner.wait(course.save(owner, change, atomic=atomic).operation_id)

    assert (operation["status"], operation["failed"], operation["progress"]) == ("failed", 1, 100)
    failed, end = audience.hears(operation)
    assert (failed["data"]["videoId"], end["data"]["status"]) == (MISSING, "failed")
