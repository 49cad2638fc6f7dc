"""Real films, images and documents through all of it: what is known of them in the end is what is in them."""

import hashlib
import threading
import time
from collections.abc import Callable

import pytest

from demo import progress, tus
from demo.client import Api, Json, Listener
from tests.support import media
from tests.support.broken_patch import OpenPatch
from tests.support.films import MIB, film
from tests.support.stack import Course, Listen

FILMS: dict[str, tuple[Callable[[], bytes], str, str, list[str]]] = {
    "last.mp4": (media.video, "video/mp4", "mp4", ["h264", "aac"]),
    "first.mp4": (lambda: media.video(index_first=True), "video/mp4", "mp4", ["h264", "aac"]),
    "film.webm": (
        lambda: media.video("webm", codec="libvpx-vp9", sound="libopus"), "video/webm", "webm", ["vp9", "opus"],
    ),
    "film.mkv": (lambda: media.video("matroska"), "video/x-matroska", "matroska", ["h264", "aac"]),
}  # fmt: skip
OTHERS: dict[str, tuple[Callable[[], bytes], str, str, tuple[int, int] | None]] = {
    "photo.jpg": (lambda: media.image("JPEG"), "image/jpeg", "jpeg", (64, 48)),
    "photo.png": (lambda: media.image("PNG"), "image/png", "png", (64, 48)),
    "photo.webp": (lambda: media.image("WEBP"), "image/webp", "webp", (64, 48)),
    "notes.pdf": (media.pdf, "application/pdf", "pdf", None),
}


def sent(user: Api, data: bytes, target: Json, **more: object) -> tus.Upload:
    upload = tus.create(user, len(data), target, **more)
    assert upload.patch(0, data).status == 204
    return upload


@pytest.mark.parametrize("name", FILMS)
def test_a_film_is_known_for_what_is_in_it(owner: Api, course: Course, listen: Listen, name: str) -> None:
    make, content_type, format_, codecs = FILMS[name]
    data, tab = make(), listen(owner, course)
    target = {"kind": "video", "chapterId": course.chapters[0]}
    upload = sent(owner, data, target, filename=name, filetype="application/octet-stream")

    event = tab.wait_for_event("upload-complete", upload.operation_id, 30)
    final = event["data"]["finalData"]
    assert final.pop("duration") == pytest.approx(2.0, abs=0.04)
    assert final == {
        "size": len(data),
        "contentType": content_type,
        "filename": name,
        "width": 320,
        "height": 180,
        "codecs": codecs,
        "format": format_,
        "checksum": hashlib.sha256(data).hexdigest(),
        "createdAt": event["timestamp"],
    }
    video = owner.get(f"videos/{upload.target_id}/").data
    assert (video["status"], video["filename"]) == ("complete", name)


@pytest.mark.parametrize("name", OTHERS)
def test_the_library_knows_what_it_was_given(owner: Api, listen: Listen, name: str) -> None:
    make, content_type, format_, size = OTHERS[name]
    data, tab = make(), listen(owner)
    upload = sent(owner, data, {"kind": "media"}, filename=name)

    event = tab.wait_for_event("media-upload-complete", upload.operation_id, 30)
    width, height = size or (None, None)
    assert event["data"]["finalData"] == {
        "size": len(data),
        "contentType": content_type,
        "filename": name,
        "duration": None,
        "width": width,
        "height": height,
        "codecs": [],
        "format": format_,
        "checksum": hashlib.sha256(data).hexdigest(),
        "createdAt": event["timestamp"],
    }


FILMS_AT_ONCE, PIECE, PAUSE_SECONDS = 3, MIB, 0.1


def test_a_mixed_save_is_seen_by_everyone_and_ends_once(
    owner: Api, editor: Api, course: Course, listen: Listen
) -> None:
    tabs = [listen(owner, course), listen(editor, course)]
    operation, data = f"mixed-{course.id}", film(20)
    whole = {"operationId": operation, "expect": 1 + FILMS_AT_ONCE + 2}
    renamed = course.videos[0]
    changes = [
        {"action": "chapter.create", "tempId": "new", "title": "New"},
        *({"action": "video.update", "videoId": video, "title": "Renamed"} for video in renamed),
    ]
    owner.request("POST", f"{course.path}save/", {**whole, "stepId": "save", "changes": changes}).data  # noqa: B018
    uploads = [
        tus.create(
            owner,
            len(data),
            {"kind": "video", "chapterId": "new", "tempId": f"film-{number}"},
            stepId=f"f{number}",
            **whole,
        )
        for number in range(FILMS_AT_ONCE)
    ]
    senders = [threading.Thread(target=slowly, args=(upload, data)) for upload in uploads]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    for tab in tabs:
        tab.wait_for_event("batch-operation-complete", operation, 60)
        tab.send({"type": "ping"})
        tab.wait_for(lambda frame: frame["type"] == "pong")
        it_was_told_well(tab, operation, uploads)
    assert durable(tabs[0]) == durable(tabs[1])
    chapter = course.read(owner) and owner.get(f"{course.path}outline/").data["chapters"][-1]
    assert [(video["title"], video["status"]) for video in chapter["videos"]] == [("film", "complete")] * FILMS_AT_ONCE


def slowly(upload: tus.Upload, data: bytes) -> None:
    """Send a film over a line of 10 MiB a second."""
    patch = OpenPatch(upload, 0, len(data))
    for at in range(0, len(data), PIECE):
        patch.send(data[at : at + PIECE])
        time.sleep(PAUSE_SECONDS)
    assert patch.answer().status == 204


def durable(tab: Listener) -> list[Json]:
    return [event for event in tab.events() if "seq" in event and "courseId" in event]


def it_was_told_well(tab: Listener, operation: str, uploads: list[tus.Upload]) -> None:
    events = [event for event in durable(tab) if event["operationId"] == operation]
    types = [event["type"] for event in events]
    counts = {type_: types.count(type_) for type_ in types}
    assert counts == {
        "chapter-create-complete": 1,
        "video-update-complete": 2,
        "video-create-complete": FILMS_AT_ONCE,
        "upload-complete": FILMS_AT_ONCE,
        "batch-operation-complete": 1,
    }
    end = events[-1]
    assert (end["type"], end["data"]["status"]) == ("batch-operation-complete", "succeeded")
    assert (end["data"]["succeeded"], end["data"]["failed"]) == (1 + FILMS_AT_ONCE + 2, 0)
    assert list(progress.problems(tab.log.received, [upload.upload_id for upload in uploads])) == []
    figures = [event for event in tab.events() if event["type"] in progress.TYPES]
    assert {event["data"]["tempId"] for event in figures} == {f"film-{number}" for number in range(FILMS_AT_ONCE)}
    assert all(event["operationId"] == operation for event in figures)
