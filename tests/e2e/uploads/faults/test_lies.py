"""Files that are not what they say: each is refused with the reason, none reaches anybody, none leads anywhere."""

import socket
from collections.abc import Iterator

import pytest

from demo import tus
from demo.client import Api
from tests.support import hostile
from tests.support.faulty_storage import FaultyStorage
from tests.support.films import MIB, Sent, film
from tests.support.stack import Cast, Course, Listen, refusal


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A server that must not be asked for anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        yield server


def test_what_is_no_film_is_refused_whatever_its_name_and_type(
    cast: Cast, course: Course, listen: Listen, trap: socket.socket
) -> None:
    tab = listen(cast.viewer, course)
    files = hostile.files(trap.getsockname()[1])
    target = {"kind": "video", "chapterId": course.chapters[0]}
    for number, data in enumerate(files.values()):
        told = {"operationId": f"lies-{course.id}", "stepId": str(number), "expect": len(files)}
        upload = tus.create(cast.owner, len(data), target, filetype="video/mp4", **told)
        assert upload.patch(0, data).status == 204

    end = tab.wait_for_event("batch-operation-complete", seconds=90)["data"]
    assert (end["status"], end["succeeded"], end["failed"]) == ("failed", 0, len(files))
    codes = {name: result["error"]["code"] for name, result in zip(files, end["results"], strict=True)}
    assert codes == dict.fromkeys(files, "content_not_allowed")
    assert {video["status"] for video in course.read(cast.owner)["chapters"][0]["videos"][2:]} == {"error"}
    with pytest.raises(TimeoutError):
        trap.accept()


def test_5_gib_are_announced_and_10_bytes_come(cast: Cast, course: Course) -> None:
    target = {"kind": "video", "chapterId": course.chapters[0]}
    upload = tus.create(cast.owner, 5 * 1024 * MIB, target)
    assert upload.patch(0, b"0123456789").status == 204
    assert upload.offset() == 10
    # Nobody can say that this was all.
    assert refusal(upload.patch(10, b"x", **{"Upload-Length": "10"})) == (400, "validation_error")
    assert upload.patch(0, b"again").status == 409
    assert cast.owner.delete(f"uploads/{upload.upload_id}/").status < 300
    assert cast.owner.wait(upload.operation_id)["status"] == "failed"


def test_more_than_was_announced_is_refused_before_it_is_taken(cast: Cast, course: Course) -> None:
    sent = Sent.by(cast.owner, course, film())
    assert sent.upload.patch(0, sent.data + b"x").status == 413
    assert sent.upload.offset() == 0
    sent.go_on()
    sent.arrives_once()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\film.mp4", "film.mp4"),
        ("fi\0lm.mp4", "film.mp4"),
        ("film-\u202e4pm.exe", "film-4pm.exe"),
        ("film" * 2_500 + ".mp4", ("film" * 2_500)[:251] + ".mp4"),
        ("Фильм 🎬.mp4", "Фильм 🎬.mp4"),
    ],
)
def test_a_name_is_only_a_name(cast: Cast, course: Course, faulty: FaultyStorage, name: str, kept: str) -> None:
    sent = Sent.by(cast.owner, course, film(), filename=name)
    sent.go_on()
    assert sent.arrives_once()["data"]["finalData"]["filename"] == kept
    keys = [found["Key"] for found in faulty.client().list_objects_v2(Bucket=faulty.bucket)["Contents"]]
    assert not any("film" in key or "passwd" in key for key in keys)


def test_nobody_touches_an_upload_of_someone_else(cast: Cast, course: Course) -> None:
    sent = Sent.by(cast.owner, course, film())
    for other in (cast.editor, cast.viewer, cast.stranger):
        theirs = _as(other, sent.upload)
        assert theirs.head().status == 404
        assert refusal(theirs.patch(0, sent.data)) == (404, "not_found")
        assert refusal(other.delete(f"uploads/{sent.upload.upload_id}/")) == (404, "not_found")
        assert refusal(other.get(f"uploads/{sent.upload.upload_id}/")) == (404, "not_found")
    sent.go_on()
    sent.arrives_once()


def _as(other: Api, upload: tus.Upload) -> tus.Upload:
    return tus.Upload(other, upload.url, upload.upload_id, upload.operation_id, upload.target_id)
