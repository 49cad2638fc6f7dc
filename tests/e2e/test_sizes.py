"""How long events are on the wire."""

import json
from collections.abc import Iterator

import pytest
from websockets.sync.client import ClientConnection, connect

from demo.client import Api, Json
from tests.support.stack import Course

TITLE = "The life of plants in forty characters.."
MOST, MOST_WITH_THREE_OBJECTS = 320, 400
NAMES_THREE_OBJECTS = {"video-create-complete", "video-move-complete"}
"""Events whose course, video and chapters take ids enough to fill the shorter limit alone."""


@pytest.fixture
def socket(course: Course, owner: Api) -> Iterator[ClientConnection]:
    """A connection that shows frames as they come."""
    ticket = owner.ticket(course.id)
    with connect(
        ticket["url"], additional_headers={"Authorization": f"Bearer {ticket['ticket']}"}, max_size=None
    ) as ws:
        ws.send(json.dumps({"type": "subscribe", "topic": course.topic}))
        while json.loads(ws.recv(10)).get("topic") != course.topic:
            pass
        yield ws


def frames_of(socket: ClientConnection, topic: str, last_seq: int) -> list[str]:
    """The topic's events as text, up to a seq."""
    texts: list[str] = []
    while True:
        text = socket.recv(20)
        assert isinstance(text, str)
        event = json.loads(text)
        if f"course:{event.get('courseId')}" == topic:
            texts.append(text)
            if event["seq"] == last_seq:
                return texts


def single_edits(course: Course) -> list[tuple[str, str, Json]]:
    """One of each kind of edit of a chapter or video."""
    (one, two), (first, second) = course.chapters, course.videos[0]
    return [
        ("PATCH", f"chapters/{one}/", {"title": TITLE}),
        ("PATCH", f"videos/{first}/", {"title": TITLE}),
        ("POST", f"{course.path}chapters/", {"title": TITLE}),
        ("POST", f"chapters/{one}/videos/", {"title": TITLE}),
        ("POST", f"videos/{first}/move/", {"chapterId": two, "position": 0}),
        ("DELETE", f"videos/{second}/", {}),
        ("DELETE", f"chapters/{one}/", {}),
    ]


def test_events_about_one_chapter_or_video_are_short(course: Course, owner: Api, socket: ClientConnection) -> None:
    assert len(TITLE) == 40
    operations = [owner.done(owner.request(*edit)) for edit in single_edits(course)]
    texts = frames_of(socket, course.topic, operations[-1]["seq"])

    sizes = {json.loads(text)["type"]: len(text.encode()) for text in texts}
    assert len(sizes) == len(operations)
    limits = {type_: MOST_WITH_THREE_OBJECTS if type_ in NAMES_THREE_OBJECTS else MOST for type_ in sizes}
    assert all(size <= limits[type_] for type_, size in sizes.items()), sizes


def test_events_have_no_white_space_and_no_escapes_that_utf8_can_do_without(
    course: Course, owner: Api, socket: ClientConnection
) -> None:
    operation = owner.done(owner.patch(f"chapters/{course.chapters[0]}/", {"title": "Blüten und 花"}))

    (text,) = frames_of(socket, course.topic, operation["seq"])
    assert text == json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    assert '"newTitle":"Blüten und 花"' in text


def test_no_event_is_over_64_kib_and_what_is_left_out_is_said(
    course: Course, owner: Api, socket: ClientConnection
) -> None:
    changes = [{"action": "video.create", "chapterId": course.chapters[0], "title": f"{n}"} for n in range(1_800)]
    owner.done(course.save(owner, *changes))
    course.read(owner)
    order = owner.done(
        owner.post(f"chapters/{course.chapters[0]}/videos/reorder/", {"videoIds": course.videos[0][::-1]})
    )

    text = frames_of(socket, course.topic, order["seq"])[-1]
    assert len(text.encode()) <= 64 * 1024
    told = json.loads(text)
    assert (told["type"], told["data"]) == (
        "video-reorder-complete",
        {"chapterId": course.chapters[0], "truncated": True},
    )
    wanted = course.videos[0][::-1]
    assert [video["id"] for video in course.read(owner)["chapters"][0]["videos"]] == wanted
