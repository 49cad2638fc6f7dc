"""
The golden files, the contracts and the AsyncAPI document say the same.

``tests/golden/events`` has one event of each type as clients receive it, ``tests/golden/frames`` one frame of each.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from broadcast import batches
from broadcast.contracts import events, frames, topics
from tests.support.broadcast_schema import document, problems

ROOT = Path(__file__).resolve().parents[3]
EVENTS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "tests/golden/events").glob("*.json"))}
FRAMES = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "tests/golden/frames").glob("*.json"))}
OPTIONAL = {"tempId", "chapterIds", "videoIds", "links"}
CLIENT_FRAMES = {"subscribe", "unsubscribe", "refresh", "ping"}
ANSWERS = {"refreshed", "pong", "error"}
COURSE, USER = FRAMES["subscribe"]["topic"], FRAMES["welcome"]["topics"][0]


def known_types() -> set[str]:
    """List the event types of the contract that clients see."""
    constants = {value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)}
    return constants - {events.ACCESS_REVOKED}


def test_every_event_type_of_the_contract_has_a_golden_file():
    assert known_types() <= set(EVENTS)


@pytest.mark.parametrize("name", EVENTS)
def test_a_golden_event_is_taken_by_the_bridge_and_reaches_clients_as_it_is(name: str):
    event = EVENTS[name]
    posted = {**event, "topic": topics.of_envelope(event)}
    batch = batches.read(json.dumps(posted).encode())
    (parcel,) = batch.parcels
    assert json.loads(parcel.body) == event
    assert (parcel.type, batch.withdrawn) == (name, [])


@pytest.mark.parametrize("name", EVENTS)
def test_a_golden_event_has_the_envelope_that_the_contract_makes(name: str):
    event = EVENTS[name]
    made = events.envelope(
        type_=name,
        topic=topics.of_envelope(event),
        operation_id=event.get("operationId"),
        seq=event.get("seq"),
        timestamp=event["timestamp"],
        data=event["data"],
    )
    assert events.encode(made) == events.encode(event)


@pytest.mark.parametrize("name", EVENTS)
def test_a_golden_event_fits_the_asyncapi_document(name: str):
    assert problems(name, EVENTS[name]) == []


@pytest.mark.parametrize("name", EVENTS)
def test_the_asyncapi_document_notices_what_is_missing_or_wrong(name: str):
    event = EVENTS[name]
    assert problems(name, {**event, "type": "another"})
    assert problems(name, {**event, "seq": 0})
    assert problems(name, {**event, "userId": "x", "courseId": "x"})
    for key in event["data"]:
        if key not in OPTIONAL and not (name == "operation-failed" and key == "videoId"):
            assert problems(name, {**event, "data": {k: v for k, v in event["data"].items() if k != key}}), key


REVERTED = {
    "currentVersion": 1,
    "category": "video",
    "contentType": "video/mp4",
    "size": 60817408,
    "file": EVENTS["media-upload-complete"]["data"]["finalData"],
}


@pytest.mark.parametrize(
    ("name", "updates"),
    [
        ("media-update-complete", {}),
        ("media-update-complete", {"status": "uploading"}),
        ("media-update-complete", REVERTED),
        ("video-update-complete", {}),
        ("video-update-complete", {"status": "uploading"}),
        ("video-update-complete", {"status": "complete", "file": REVERTED["file"]}),
        ("video-update-complete", {"status": "empty", "file": None}),
    ],
)
def test_the_asyncapi_document_knows_all_updates(name: str, updates: dict[str, Any]):
    event = EVENTS[name]
    assert problems(name, {**event, "data": {**event["data"], "updates": updates}}) == []
    for key in updates:
        assert problems(name, {**event, "data": {**event["data"], "updates": {**updates, key: []}}}), key


def server_frames() -> dict[str, frames.Frame]:
    """Make each frame of the server as the service makes it."""
    golden = FRAMES
    return {
        "welcome": frames.welcome(
            connection_id=golden["welcome"]["connectionId"],
            user_id=USER.removeprefix("user:"),
            topics=[USER, COURSE],
            heartbeat_seconds=25,
            expires_at=golden["welcome"]["expiresAt"],
        ),
        "subscribed": frames.subscribed(COURSE, seq=41, recovered=True, replayed=2),
        "resync": frames.resync(COURSE, seq=41, reason=frames.TOO_FAR),
        "unsubscribed": frames.unsubscribed(COURSE, code=frames.ACCESS_WITHDRAWN),
        "heartbeat": frames.heartbeat({USER: 7, COURSE: 41}),
        "expiring": frames.expiring(golden["expiring"]["expiresAt"]),
        "refreshed": frames.refreshed(expires_at=golden["refreshed"]["expiresAt"], topics=[USER, COURSE]),
        "pong": frames.pong(),
        "error": frames.error("permission_denied", "No ticket of this connection grants this topic.", topic=COURSE),
        "closing": frames.closing(frames.CloseCode.GOING_AWAY, reason="The server is going away.", retry_after_ms=1840),
    }


def test_the_servers_frames_are_the_golden_ones():
    assert server_frames() == {name: frame for name, frame in FRAMES.items() if name not in CLIENT_FRAMES}


def test_the_clients_frames_are_read():
    read = {name: frames.parse(json.dumps(FRAMES[name])) for name in CLIENT_FRAMES}
    assert read == {
        "subscribe": frames.Subscribe(COURSE, 39),
        "unsubscribe": frames.Unsubscribe(COURSE),
        "refresh": frames.Refresh("<ticket>"),
        "ping": frames.Ping(),
    }


@pytest.mark.parametrize("name", FRAMES)
def test_a_golden_frame_fits_the_asyncapi_document(name: str):
    assert problems(name, FRAMES[name]) == []
    for key in FRAMES[name]:
        if (name, key) not in {("subscribe", "since"), ("unsubscribed", "code"), ("error", "topic")}:
            assert problems(name, {k: v for k, v in FRAMES[name].items() if k != key}), key


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("subscribed", frames.subscribed(COURSE, seq=0, recovered=None, replayed=0)),
        ("resync", frames.resync(COURSE, seq=0, reason=frames.HISTORY_LOST)),
        ("resync", frames.resync(COURSE, seq=0, reason=frames.AHEAD)),
        ("unsubscribed", frames.unsubscribed(COURSE)),
        ("unsubscribed", frames.unsubscribed(COURSE, code=frames.NOT_IN_TICKET)),
        ("unsubscribed", frames.unsubscribed(COURSE, code=frames.TICKET_EXPIRED)),
        ("heartbeat", frames.heartbeat({})),
        ("error", frames.error("unavailable", "x")),
        *(("closing", frames.closing(code, reason="x", retry_after_ms=None)) for code in frames.CloseCode),
    ],
)
def test_other_forms_of_frames_fit_too(name: str, frame: frames.Frame):
    assert problems(name, frame) == []


def test_the_document_has_every_message_and_all_its_references_lead_somewhere():
    loaded = document()
    assert loaded["asyncapi"] == "3.0.0"
    messages = loaded["components"]["messages"]
    assert set(messages) == set(EVENTS) | set(FRAMES)
    said = {
        operation: {reference["$ref"].rpartition("/")[2] for reference in entry["messages"]}
        for operation, entry in loaded["operations"].items()
    }
    told = set(messages) - CLIENT_FRAMES
    assert said == {"tellClient": told, "tellListener": told - ANSWERS, "hearClient": CLIENT_FRAMES}
    for reference in references(loaded):
        found: Any = loaded
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def references(value: Any) -> list[str]:
    """List all references in a document."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [reference for inner in value.values() for reference in references(inner)]
    if isinstance(value, list):
        return [reference for inner in value for reference in references(inner)]
    return []


def test_docs_show_each_golden_event():
    text = (ROOT / "docs/events.md").read_text()
    for name, event in EVENTS.items():
        assert f"### `{name}`" in text
        assert events.encode(event).decode() in text, name
