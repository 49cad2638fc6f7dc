"""The copy's rules one by one. That events and outline agree is shown by the demo itself, on a whole CourseHub."""

import copy

import pytest

from demo.client import Json
from demo.replica import OutOfStep, Replica

THEN, NOW = "2026-01-01T00:00:00.000Z", "2026-01-31T12:00:00.125Z"
NOW_MS = 1769860800125


def video(id_: str, chapter: str, position: int) -> Json:
    said = {"chapterId": chapter, "title": id_, "filename": "", "position": position, "status": "empty"}
    return {"id": id_, "courseId": "1", **said, "version": 1, "createdAt": THEN, "updatedAt": THEN}


def chapter(id_: str, position: int, *videos: str) -> Json:
    said = {"title": id_, "position": position, "version": 1, "createdAt": THEN, "updatedAt": THEN}
    inside = [video(name, id_, place) for place, name in enumerate(videos)]
    return {"id": id_, "courseId": "1", **said, "videos": inside}


def outline() -> Json:
    course = {"id": "1", "title": "Botany", "price": None, "version": 1, "updatedAt": THEN, "deletedAt": None}
    return {
        "course": course,
        "chapters": [chapter("a", 0, "x", "y"), chapter("b", 1, "z")],
        "topic": "course:1",
        "seq": 7,
    }


def after(type_: str, **data: object) -> Json:
    """The outline after one event."""
    replica = Replica(outline())
    replica.apply({"type": type_, "courseId": "1", "seq": 8, "timestamp": NOW_MS, "data": data})
    return replica.outline


def shape(outline: Json) -> list[tuple[str, list[str]]]:
    """The order of everything; that positions count it is checked on the way."""
    for items in (outline["chapters"], *(chapter["videos"] for chapter in outline["chapters"])):
        assert [item["position"] for item in items] == list(range(len(items)))
    return [(chapter["id"], [video["id"] for video in chapter["videos"]]) for chapter in outline["chapters"]]


def test_a_course_update_changes_the_fields_it_names() -> None:
    changed = after("course-update-complete", courseId="1", updates={"price": "19.90"}, version=2)

    assert changed["course"] == {**outline()["course"], "price": "19.90", "version": 2, "updatedAt": NOW}


def test_a_course_that_is_deleted_and_restored_is_as_before_but_for_its_time() -> None:
    assert after("course-delete-complete", courseId="1")["course"]["deletedAt"] == NOW
    assert after("course-restore-complete", courseId="1")["course"] == {**outline()["course"], "updatedAt": NOW}


def test_a_new_chapter_takes_its_place_and_the_others_move_on() -> None:
    changed = after("chapter-create-complete", chapterId="n", title="New", position=1, version=1)

    assert shape(changed) == [("a", ["x", "y"]), ("n", []), ("b", ["z"])]
    assert changed["chapters"][1]["createdAt"] == changed["chapters"][1]["updatedAt"] == NOW


def test_a_chapter_update_changes_title_version_and_time() -> None:
    changed = after("chapter-update-complete", chapterId="b", newTitle="B", updates={}, version=2)

    assert changed["chapters"][1] == {**outline()["chapters"][1], "title": "B", "version": 2, "updatedAt": NOW}


def test_a_deleted_chapter_takes_its_videos_along() -> None:
    assert shape(after("chapter-delete-complete", chapterId="a")) == [("b", ["z"])]


def test_reordering_changes_the_order_and_nothing_else() -> None:
    assert shape(after("chapter-reorder-complete", chapterIds=["b", "a"])) == [("b", ["z"]), ("a", ["x", "y"])]
    changed = after("video-reorder-complete", chapterId="a", videoIds=["y", "x"])
    assert shape(changed) == [("a", ["y", "x"]), ("b", ["z"])]
    assert {video["updatedAt"] for video in changed["chapters"][0]["videos"]} == {THEN}


def test_a_new_video_is_empty_until_a_file_comes() -> None:
    data = {"videoId": "n", "chapterId": "b", "title": "New", "filename": "n.mp4", "position": 0, "version": 1}

    changed = after("video-create-complete", **data)

    assert shape(changed) == [("a", ["x", "y"]), ("b", ["n", "z"])]
    expected = {**video("n", "b", 0), "title": "New", "filename": "n.mp4", "createdAt": NOW, "updatedAt": NOW}
    assert changed["chapters"][1]["videos"][0] == {**expected, "file": None}


def test_a_video_update_changes_what_it_names() -> None:
    changed = after("video-update-complete", videoId="z", newTitle="Z", updates={"filename": "z.mp4"}, version=2)

    said = {"title": "Z", "filename": "z.mp4", "version": 2, "updatedAt": NOW}
    assert changed["chapters"][1]["videos"][0] == {**video("z", "b", 0), **said}


def test_a_deleted_video_leaves_no_gap() -> None:
    assert shape(after("video-delete-complete", videoId="x", chapterId="a")) == [("a", ["y"]), ("b", ["z"])]


def test_a_moved_video_leaves_one_list_and_enters_the_other() -> None:
    changed = after("video-move-complete", videoId="x", fromChapterId="a", toChapterId="b", position=0, version=2)

    assert shape(changed) == [("a", ["y"]), ("b", ["x", "z"])]
    assert changed["chapters"][1]["videos"][0]["chapterId"] == "b"


@pytest.mark.parametrize("type_", ["batch-operation-complete", "operation-failed", "course-member-update-complete"])
def test_events_that_tell_nothing_of_the_outline_only_count(type_: str) -> None:
    assert after(type_, operationId="o") == {**outline(), "seq": 8}


def test_an_upload_makes_a_video_and_fills_it() -> None:
    created = {"videoId": "n", "uploadId": "u", "chapterId": "a", "title": "N", "filename": "n", "position": 0}
    (video, *_) = after("video-create-complete", **created, version=1)["chapters"][0]["videos"]
    assert (video["status"], video["file"]) == ("uploading", None)

    final = {"size": 5, "filename": "n.mp4", "createdAt": NOW_MS}
    (filled, *_) = after("upload-complete", videoId="x", status="complete", finalData=final)["chapters"][0]["videos"]
    assert (filled["status"], filled["filename"]) == ("complete", "n.mp4")
    assert filled["file"] == {**final, "createdAt": NOW}

    updates = {"status": "complete", "file": final}
    taken = after("video-update-complete", videoId="x", newTitle="X", updates=updates, version=2)
    assert taken["chapters"][0]["videos"][0]["file"] == {**final, "createdAt": NOW}


@pytest.mark.parametrize("seq", [7, 9])
def test_an_event_that_is_not_the_next_one_is_refused_and_changes_nothing(seq: int) -> None:
    replica = Replica(outline())

    with pytest.raises(OutOfStep):
        replica.apply({"type": "chapter-delete-complete", "seq": seq, "timestamp": 0, "data": {"chapterId": "a"}})
    assert replica.outline == outline()


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("chapter-update-complete", {"chapterId": "?", "newTitle": "T", "version": 2}),
        ("video-update-complete", {"videoId": "?", "newTitle": "T", "updates": {}, "version": 2}),
        ("chapter-create-complete", {"chapterId": "n", "title": "T", "position": 9, "version": 1}),
        ("chapter-reorder-complete", {"chapterIds": ["a"]}),
    ],
)
def test_an_event_about_what_is_not_there_is_refused(type_: str, data: Json) -> None:
    with pytest.raises(OutOfStep):
        after(type_, **data)


def test_differences_name_each_field_that_disagrees() -> None:
    fresh = copy.deepcopy(outline())
    fresh["chapters"][1]["videos"][0]["version"] = 2
    fresh["chapters"][0]["videos"].pop()
    fresh["course"]["colour"] = "green"

    found = list(Replica(outline()).differences(fresh))

    assert [line.partition(" is ")[0] for line in found] == [
        "outline.course.colour",
        "outline.chapters.0.videos",
        "outline.chapters.1.videos.0.version",
    ]
    assert list(Replica(outline()).differences(outline())) == []
