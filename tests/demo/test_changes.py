import pytest

from demo import changes
from demo.changes import Expected
from demo.client import Json

TOPIC = "course:1"


@pytest.mark.parametrize(
    ("change", "request_"),
    [
        (
            {"action": "chapter.update", "chapterId": "c", "title": "T", "baseVersion": 2},
            ("PATCH", "chapters/c/", {"title": "T", "baseVersion": 2}),
        ),
        (
            {"action": "video.move", "videoId": "v", "chapterId": "c", "position": 0},
            ("POST", "videos/v/move/", {"chapterId": "c", "position": 0}),
        ),
        (
            {"action": "chapter.reorder", "chapterIds": ["a", "b"]},
            ("POST", "courses/1/chapters/reorder/", {"chapterIds": ["a", "b"]}),
        ),
        (
            {"action": "video.create", "chapterId": "c", "title": "T", "tempId": "t"},
            ("POST", "chapters/c/videos/", {"title": "T", "tempId": "t"}),
        ),
        ({"action": "course.delete"}, ("DELETE", "courses/1/", {})),
    ],
)
def test_a_change_by_itself_is_a_request_with_its_ids_in_the_path(
    change: Json, request_: tuple[str, str, Json]
) -> None:
    assert changes.request_of(change, "1") == request_


def test_the_event_of_a_change_names_the_ids_behind_its_tempids() -> None:
    change = {"action": "video.create", "tempId": "v", "chapterId": "c", "title": "c", "position": 0}

    expected = changes.event_of(change, TOPIC, {"videoId": "id-v"}, {"c": "id-c", "v": "id-v"})

    assert expected == Expected(
        TOPIC,
        "video-create-complete",
        {"videoId": "id-v", "tempId": "v", "chapterId": "id-c", "title": "c", "position": 0},
    )


def test_the_event_of_a_reorder_has_the_whole_list() -> None:
    change = {"action": "video.reorder", "chapterId": "c", "videoIds": ["x", "v"]}

    expected = changes.event_of(change, TOPIC, {}, {"v": "id-v"})

    assert expected == Expected(TOPIC, "video-reorder-complete", {"chapterId": "c", "videoIds": ["x", "id-v"]})


def test_an_event_fits_what_is_expected_only_if_type_and_every_field_agree() -> None:
    expected = Expected(TOPIC, "chapter-update-complete", {"chapterId": "c", "newTitle": "T"})

    def event(type_: str = "chapter-update-complete", **data: object) -> Json:
        return {"type": type_, "data": {"chapterId": "c", "newTitle": "T", "version": 2, **data}}

    assert expected.fits(event())
    assert not expected.fits(event(newTitle="U"))
    assert not expected.fits(event("chapter-delete-complete"))


@pytest.mark.parametrize(("succeeded", "failed", "status"), [(3, 0, "succeeded"), (2, 1, "partial"), (0, 3, "failed")])
def test_the_end_of_an_operation_says_how_many_steps_succeeded(succeeded: int, failed: int, status: str) -> None:
    end = changes.end_of(TOPIC, succeeded=succeeded, failed=failed)

    assert end.data == {"status": status, "succeeded": succeeded, "failed": failed}
