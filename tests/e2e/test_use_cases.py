"""Course editing as its users know it: each use case from the request to every screen."""

import time

from demo.client import Api, Json
from tests.support.stack import Audience, Cast, Course, Listen, Site, said, wait_for_own


def test_editing_a_chapters_title(course: Course, editor: Api, audience: Audience) -> None:
    chapter = course.chapters[0]
    answer = editor.patch(f"chapters/{chapter}/", {"title": "Roots"})

    assert answer.body == {
        "success": True,
        "operationId": answer.operation_id,
        "immediate": True,
        "data": {"chapterId": chapter},
    }
    assert answer.headers["Operation-Location"] == f"/api/v1/operations/{answer.operation_id}/"
    operation = editor.done(answer)
    (event,) = audience.hears(operation)
    assert event == {
        "type": "chapter-update-complete",
        "courseId": course.id,
        "operationId": answer.operation_id,
        "seq": operation["seq"],
        "timestamp": event["timestamp"],
        "data": {"chapterId": chapter, "newTitle": "Roots", "updates": {}, "version": 2},
    }
    assert abs(event["timestamp"] / 1000 - time.time()) < 60
    assert editor.get(f"chapters/{chapter}/").data["title"] == "Roots"


def test_what_the_operation_says_of_itself(course: Course, owner: Api) -> None:
    operation = owner.done(owner.patch(f"chapters/{course.chapters[0]}/", {"title": "Roots"}))

    assert operation == {
        "operationId": operation["operationId"],
        "kind": "chapter.update",
        "status": "succeeded",
        "expected": 1,
        "succeeded": 1,
        "failed": 0,
        "progress": 100,
        "topic": course.topic,
        "seq": course.read(owner)["seq"],
        "createdAt": operation["createdAt"],
        "finishedAt": operation["finishedAt"],
        "error": None,
        "steps": [
            {
                "stepId": "1",
                "action": "chapter.update",
                "status": "succeeded",
                "data": {"chapterId": course.chapters[0], "version": 2},
                "error": None,
            }
        ],
    }
    assert operation["createdAt"] <= operation["finishedAt"]
    assert owner.get("operations/?limit=1").data == [{k: v for k, v in operation.items() if k != "steps"}]


def test_adding_an_empty_chapter(course: Course, owner: Api, audience: Audience) -> None:
    answer = owner.post(f"{course.path}chapters/", {"title": "Leaves", "tempId": "new-1"})

    (event,) = audience.hears(owner.done(answer))
    chapter = answer.data["chapterId"]
    told = {"chapterId": chapter, "tempId": "new-1", "title": "Leaves", "position": 2, "version": 1}
    assert said(event) == ("chapter-create-complete", told)
    found = owner.get(f"chapters/{chapter}/").data
    told = {"id": chapter, "courseId": course.id, "title": "Leaves", "position": 2, "version": 1}
    assert found == {**told, "createdAt": found["updatedAt"], "updatedAt": found["updatedAt"]}


def test_adding_chapters_at_positions(course: Course, owner: Api, audience: Audience) -> None:
    first = owner.post(f"{course.path}chapters/", {"title": "First", "position": 0})
    beyond = owner.post(f"{course.path}chapters/", {"title": "Beyond", "position": 99})

    events = audience.hears(owner.done(first), owner.done(beyond))
    assert [(event["data"]["title"], event["data"]["position"]) for event in events] == [("First", 0), ("Beyond", 3)]
    assert all("tempId" not in event["data"] for event in events)
    titles = [(chapter["title"], chapter["version"]) for chapter in course.read(owner)["chapters"]]
    assert titles == [("First", 1), ("Chapter 0", 1), ("Chapter 1", 1), ("Beyond", 1)]


def test_deleting_a_chapter_takes_its_videos_along(course: Course, editor: Api, audience: Audience) -> None:
    (chapter, _), (videos, _) = course.chapters, course.videos
    (event,) = audience.hears(editor.done(editor.delete(f"chapters/{chapter}/")))

    assert said(event) == ("chapter-delete-complete", {"chapterId": chapter})
    assert [c["position"] for c in course.read(editor)["chapters"]] == [0]
    gone = [f"chapters/{chapter}/", *(f"videos/{video}/" for video in videos)]
    assert [editor.get(path).status for path in gone] == [404, 404, 404]


def test_adding_an_empty_video(course: Course, editor: Api, audience: Audience) -> None:
    chapter = course.chapters[1]
    body = {"title": "Pollen", "filename": "pollen.mp4", "tempId": "v", "position": 1}
    answer = editor.post(f"chapters/{chapter}/videos/", body)

    (event,) = audience.hears(editor.done(answer))
    video = answer.data["videoId"]
    told = {**body, "videoId": video, "chapterId": chapter, "version": 1}
    assert said(event) == ("video-create-complete", told)
    found = editor.get(f"videos/{video}/").data
    assert (found["status"], found["position"], found["courseId"]) == ("empty", 1, course.id)


def test_editing_a_videos_title_and_its_filename(course: Course, owner: Api, audience: Audience) -> None:
    path = f"videos/{course.videos[0][0]}/"
    operations = [owner.done(owner.patch(path, body)) for body in ({"title": "Seeds"}, {"filename": "seeds.mp4"})]

    titled, named = audience.hears(*operations)
    told = {"videoId": course.videos[0][0], "newTitle": "Seeds"}
    assert said(titled) == ("video-update-complete", {**told, "updates": {}, "version": 2})
    assert said(named) == ("video-update-complete", {**told, "updates": {"filename": "seeds.mp4"}, "version": 3})


def test_a_change_that_alters_nothing_keeps_the_version_and_is_told(
    course: Course, owner: Api, audience: Audience
) -> None:
    (event,) = audience.hears(owner.done(owner.patch(f"chapters/{course.chapters[0]}/", {"title": "Chapter 0"})))

    assert (event["data"]["newTitle"], event["data"]["version"]) == ("Chapter 0", 1)


def test_deleting_videos_one_by_one_and_several_at_once(course: Course, owner: Api, audience: Audience) -> None:
    (first, second), (third, _) = course.videos
    one = owner.done(owner.delete(f"videos/{first}/"))
    changes = [{"action": "video.delete", "videoId": video} for video in (second, third)]
    several = owner.done(course.save(owner, *changes))

    *deletions, end = audience.hears(one, several)
    homes = [(first, 0), (second, 0), (third, 1)]
    assert [said(event) for event in deletions] == [
        ("video-delete-complete", {"videoId": video, "chapterId": course.chapters[home]}) for video, home in homes
    ]
    assert end["type"] == "batch-operation-complete"


def test_moving_a_video_between_chapters(course: Course, editor: Api, audience: Audience) -> None:
    (source, target), video = course.chapters, course.videos[0][0]
    answer = editor.post(f"videos/{video}/move/", {"chapterId": target, "position": 1})

    (event,) = audience.hears(editor.done(answer))
    places = {"fromChapterId": source, "toChapterId": target, "position": 1}
    assert said(event) == ("video-move-complete", {"videoId": video, **places, "version": 2})
    course.read(editor)
    assert [len(videos) for videos in course.videos] == [1, 3] and course.videos[1][1] == video


def test_reordering_many_lists_at_once_is_one_event_a_list(course: Course, owner: Api, audience: Audience) -> None:
    chapters, videos = course.chapters, course.videos
    changes = [
        {"action": "chapter.reorder", "chapterIds": chapters[::-1]},
        {"action": "video.reorder", "chapterId": chapters[0], "videoIds": videos[0][::-1]},
        {"action": "video.reorder", "chapterId": chapters[1], "videoIds": videos[1][::-1]},
    ]
    operation = owner.done(course.save(owner, *changes))

    *lists, end = audience.hears(operation)
    assert [said(event) for event in lists] == [
        ("chapter-reorder-complete", {"chapterIds": chapters[::-1]}),
        ("video-reorder-complete", {"chapterId": chapters[0], "videoIds": videos[0][::-1]}),
        ("video-reorder-complete", {"chapterId": chapters[1], "videoIds": videos[1][::-1]}),
    ]
    assert said(end) == (
        "batch-operation-complete",
        {
            "operationId": operation["operationId"],
            "status": "succeeded",
            "succeeded": 3,
            "failed": 0,
            "results": [
                {
                    "stepId": "1.0",
                    "action": "chapter.reorder",
                    "status": "succeeded",
                    "courseId": course.id,
                    "error": None,
                },
                {
                    "stepId": "1.1",
                    "action": "video.reorder",
                    "status": "succeeded",
                    "chapterId": chapters[0],
                    "error": None,
                },
                {
                    "stepId": "1.2",
                    "action": "video.reorder",
                    "status": "succeeded",
                    "chapterId": chapters[1],
                    "error": None,
                },
            ],
        },
    )
    assert end["seq"] == operation["seq"]


def test_reordering_single_lists(course: Course, editor: Api, audience: Audience) -> None:
    chapters, videos = course.chapters[::-1], course.videos[0][::-1]
    orders = [
        editor.post(f"{course.path}chapters/reorder/", {"chapterIds": chapters}),
        editor.post(f"chapters/{course.chapters[0]}/videos/reorder/", {"videoIds": videos}),
    ]
    events = audience.hears(*(editor.done(answer) for answer in orders))

    assert [event["type"] for event in events] == ["chapter-reorder-complete", "video-reorder-complete"]
    read = course.read(editor)["chapters"]
    assert [chapter["id"] for chapter in read] == chapters
    assert [video["id"] for video in read[1]["videos"]] == videos
    assert {chapter["version"] for chapter in read} == {1}


def test_editing_course_info(course: Course, owner: Api, audience: Audience) -> None:
    updates = {"title": "Botany II", "description": "Ferns", "price": "19.90", "currency": "EUR"}
    (event,) = audience.hears(owner.done(owner.patch(course.path, updates)))

    told = {"courseId": course.id, "updates": updates, "version": 2}
    assert said(event) == ("course-update-complete", told)
    read = owner.get(course.path).data
    assert read == read | updates | {"version": 2, "role": "owner", "ownerId": owner.user["id"], "deletedAt": None}


def test_creating_a_course_is_told_to_its_owner(owner: Api, listen: Listen) -> None:
    mine = listen(owner)
    answer = owner.post("courses/", {"title": "Zoology", "price": "5", "currency": "CHF"})

    event = mine.wait_for_event("course-create-complete", answer.operation_id)
    course_id = answer.data["courseId"]
    updates = {"title": "Zoology", "description": "", "price": "5.00", "currency": "CHF"}
    assert event["userId"] == owner.user["id"] and "courseId" not in event
    assert event["data"] == {"courseId": course_id, "updates": updates, "version": 1}
    outline = owner.get(f"courses/{course_id}/outline/").data
    assert (outline["course"]["title"], outline["chapters"], outline["seq"]) == ("Zoology", [], 1)


def test_deleting_and_restoring_a_course_is_heard_on_the_same_subscriptions(
    course: Course, owner: Api, viewer: Api, audience: Audience
) -> None:
    deleted = owner.done(owner.delete(course.path))
    tabs = audience.tabs
    for tab in tabs:
        assert said(tab.wait_for_event("course-delete-complete", deleted["operationId"]))[1] == {"courseId": course.id}
    assert viewer.get(course.path).status == 404 and viewer.get(f"{course.path}outline/").status == 404
    assert owner.get(course.path).data["deletedAt"] is not None
    assert course.id in [row["id"] for row in owner.get("courses/?deleted=true&limit=1").data]
    assert course.id not in [row["id"] for row in owner.get("courses/?limit=5").data]
    refused = owner.patch(f"chapters/{course.chapters[0]}/", {"title": "No"})
    assert (refused.status, refused.body["error"]["code"]) == (410, "gone")

    restored = owner.done(owner.post(f"{course.path}restore/"))
    events = audience.hears(deleted, restored)
    assert [event["type"] for event in events] == ["course-delete-complete", "course-restore-complete"]
    assert viewer.get(f"{course.path}outline/").data["chapters"] == audience.before["chapters"]
    for tab, person in zip(tabs, (owner, owner, audience.cast.editor, viewer), strict=True):
        wait_for_own(tab, person, "course-restore-complete", restored["operationId"])
        own = tab.events(f"user:{person.user['id']}")[-2:]
        assert [(event["type"], event["data"]) for event in own] == [said(event) for event in events]


def test_mixed_saves(course: Course, owner: Api, audience: Audience) -> None:
    (one, two), videos = course.chapters, course.videos
    title_and_renames = [
        {"action": "chapter.update", "chapterId": one, "title": "Roots"},
        *({"action": "video.update", "videoId": video, "title": f"Renamed {video[-4:]}"} for video in videos[0]),
    ]
    new_chapter_and_edits = [
        {"action": "chapter.create", "tempId": "c", "title": "Leaves", "position": 1},
        {"action": "video.create", "tempId": "v", "chapterId": "c", "title": "Stomata", "filename": "s.mp4"},
        {"action": "video.move", "videoId": videos[0][0], "chapterId": "c", "position": 0},
        {"action": "video.reorder", "chapterId": "c", "videoIds": ["v", videos[0][0]]},
        {"action": "video.update", "videoId": "v", "title": "Stomata at night"},
    ]
    delete_and_rename_the_rest = [
        {"action": "chapter.delete", "chapterId": two},
        {"action": "chapter.update", "chapterId": one, "title": "Only roots"},
    ]
    info_and_chapters = [
        {"action": "course.update", "title": "Botany, revised", "price": None},
        {"action": "chapter.create", "title": "Appendix"},
    ]
    saves = [title_and_renames, new_chapter_and_edits, delete_and_rename_the_rest, info_and_chapters]
    operations = [owner.done(course.save(owner, *changes)) for changes in saves]

    events = audience.hears(*operations)
    ends = [event for event in events if event["type"] == "batch-operation-complete"]
    assert [end["operationId"] for end in ends] == [operation["operationId"] for operation in operations]
    for changes, operation in zip(saves, operations, strict=True):
        *told, end = [event for event in events if event["operationId"] == operation["operationId"]]
        assert [event["type"] for event in told] == [event_type(change) for change in changes]
        assert (end["data"]["succeeded"], end["seq"]) == (len(changes), operation["seq"])


def event_type(change: Json) -> str:
    """The event of a change that succeeds."""
    return change["action"].replace(".", "-") + "-complete"


def test_a_save_says_at_once_which_ids_its_temp_ids_became(course: Course, owner: Api, audience: Audience) -> None:
    answer = course.save(
        owner,
        {"action": "chapter.create", "tempId": "c", "title": "Leaves"},
        {"action": "video.create", "tempId": "v", "chapterId": "c", "title": "Stomata", "stepId": "mine"},
    )

    ids = answer.data["ids"]
    assert answer.data["steps"] == [
        {"stepId": "1.0", "action": "chapter.create", "chapterId": ids["c"], "tempId": "c"},
        {"stepId": "mine", "action": "video.create", "videoId": ids["v"], "tempId": "v"},
    ]
    chapter, video, end = audience.hears(owner.done(answer))
    assert (chapter["data"]["chapterId"], video["data"]["chapterId"]) == (ids["c"], ids["c"])
    assert (video["data"]["videoId"], video["data"]["tempId"]) == (ids["v"], "v")
    assert [result["stepId"] for result in end["data"]["results"]] == ["1.0", "mine"]


def test_a_then_b_ends_as_b(course: Course, owner: Api, audience: Audience) -> None:
    path = f"chapters/{course.chapters[0]}/"
    answers = [owner.patch(path, {"title": title}) for title in ("A", "B")]

    events = audience.hears(*(owner.done(answer) for answer in answers))
    assert [event["data"]["newTitle"] for event in events] == ["A", "B"]
    assert owner.get(path).data["title"] == "B"


def test_every_tab_hears_everyones_edits_in_one_order(
    site: Site, cast: Cast, course: Course, audience: Audience
) -> None:
    answers = [
        (person, person.patch(f"chapters/{course.chapters[index % 2]}/", {"title": f"{index}"}))
        for index, person in enumerate([cast.owner, cast.editor] * 10)
    ]

    events = audience.hears(*(person.done(answer) for person, answer in answers))
    assert [event["operationId"] for event in events] == [answer.operation_id for _, answer in answers]
