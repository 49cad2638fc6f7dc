import pytest

from demo import progress
from demo.client import Json, Received

TOTAL = 1000


def figure(ms: int, done: int, status: str = "uploading") -> Json:
    data = {"uploadId": "u", "bytes": done, "total": TOTAL, "progress": 100 * done // TOTAL, "status": status}
    return {"type": "upload-progress", "timestamp": ms, "data": data}


def ended(type_: str = "upload-complete") -> Json:
    return {"type": type_, "timestamp": 9000, "data": {"uploadId": "u"}}


WHOLE = [figure(0, 0), figure(600, 500), figure(1200, 1000), figure(1210, 1000, "processing"), ended()]


def found(*frames: Json) -> list[str]:
    return list(progress.problems([Received(frame, 0.0) for frame in frames], ["u"]))


def test_nothing_is_wrong_with_figures_that_grow_to_the_end() -> None:
    assert found({"type": "welcome"}, *WHOLE) == []


def test_what_other_uploads_do_is_of_no_concern() -> None:
    other = figure(0, 700)
    other["data"]["uploadId"] = "other"
    assert found(other, *WHOLE) == []


def test_one_that_failed_need_not_have_come_to_the_end() -> None:
    assert found(figure(0, 0), figure(100, 500), ended("operation-failed")) == []


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        ([], "nobody heard"),
        ([*WHOLE, figure(1300, 1000)], "came after its end"),
        ([*WHOLE, ended()], "came after its end"),
        ([figure(0, 500), figure(600, 400), *WHOLE[2:]], "went back"),
        ([figure(0, 0), figure(100, 900), ended()], "its last figure was 900 of 1000"),
        ([figure(0, 0), *(figure(90 * n, 1000) for n in range(1, 12)), ended()], "more than 10 figures in a second"),
        ([figure(0, 0), figure(3001, 1000), ended()], "too long without a figure"),
    ],
)
def test_each_breach_is_named(frames: list[Json], complaint: str) -> None:
    (problem,) = found(*frames)
    assert problem.startswith("Upload u: ") and complaint in problem


def bulk(done: int, total: int = 400) -> Json:
    return {"type": "media-bulk-delete-progress", "operationId": "o", "data": {"done": done, "total": total}}


END: Json = {"type": "batch-operation-complete", "operationId": "o", "seq": 5, "data": {}}


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        ([bulk(0), bulk(200), bulk(400), END], None),
        ([END], "its progress was []"),
        ([bulk(200), bulk(0), bulk(400), END], "its progress was [200, 0, 400]"),
        ([bulk(0), bulk(200), END], "its progress was [0, 200]"),
        ([bulk(0), END, bulk(400)], "it did not end with its end"),
    ],
)
def test_bulk_requests_tell_from_the_beginning_to_the_end(frames: list[Json], complaint: str | None) -> None:
    problems = list(progress.problems_of_bulks([Received(frame, 0.0) for frame in frames], ["o"]))
    assert not problems if complaint is None else complaint in problems[0]
