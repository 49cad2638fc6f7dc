"""Real films, images and documents through all of it: what is known of them in the end is what is in them."""

import hashlib
from collections.abc import Callable

import pytest

from demo import tus
from demo.client import Api, Json
from tests.support import media
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
