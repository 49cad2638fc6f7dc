import pytest

from benchmarks.product import Mixed
from demo import changes
from demo.client import Api, Json


class Owner:
    """Answers what making a course asks for, with a course of 100 chapters and 25 videos in each."""

    def __init__(self) -> None:
        self.posted: list[Json] = []

    def post(self, path: str, body: Json) -> Json:
        self.posted.append(body)
        return body

    def done(self, _answer: Json) -> Json:
        return {"steps": [{"data": {"courseId": "course"}}]}

    def get(self, _path: str) -> "Owner":
        return self

    @property
    def data(self) -> Json:
        return {"chapters": [{"id": f"c{c}", "videos": [{"id": f"v{c}.{v}"} for v in range(25)]} for c in range(100)]}


@pytest.fixture
def mixed() -> Mixed:
    owner: Api = Owner()  # type: ignore[assignment]
    return Mixed(owner)


def test_a_course_is_made_of_saves_that_are_not_too_large() -> None:
    owner = Owner()
    Mixed(owner)  # type: ignore[arg-type]

    sizes = [len(body["changes"]) for body in owner.posted if "changes" in body]

    assert sum(sizes) == 100 + 2_500
    assert max(sizes) <= 2_000


@pytest.mark.parametrize("size", [1, 10, 100, 2_000])
def test_a_mixed_save_has_as_many_changes_as_asked_for(mixed: Mixed, size: int) -> None:
    method, path, body = mixed.request(size)

    assert (method, path, len(body["changes"])) == ("POST", "courses/course/save/", size)


def test_a_large_save_mixes_every_kind_of_edit(mixed: Mixed) -> None:
    _, _, body = mixed.request(100)

    kinds = {change["action"] for change in body["changes"]}

    assert kinds == set(changes.ROUTES) - {"course.delete", "course.restore", "chapter.create", "chapter.reorder"} - {
        "chapter.delete"
    }


def test_a_video_is_deleted_once(mixed: Mixed) -> None:
    bodies = [mixed.request(1_000)[2] for _ in range(4)]

    deleted = [change["videoId"] for body in bodies for change in body["changes"] if change["action"] == "video.delete"]

    assert deleted
    assert len(deleted) == len(set(deleted))


def test_a_reordered_list_is_touched_by_nothing_else(mixed: Mixed) -> None:
    all_changes = [change for _ in range(3) for change in mixed.request(2_000)[2]["changes"]]

    reordered = {change["chapterId"] for change in all_changes if change["action"] == "video.reorder"}
    touched = {change.get("chapterId") for change in all_changes if change["action"] in ("video.move", "video.create")}

    assert reordered
    assert not reordered & touched
