"""What the bridge takes, and what it says of the rest."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcast import batches
from broadcast.batches import Malformed
from broadcast.contracts import events
from broadcast.revocations import Revocation
from tests.support.broadcast_fakes import TOPIC
from tests.support.broadcast_process import event, revocation

USER = "01890a5d-ac96-774b-bcce-b302099a8057"


def read(*posted: Any) -> Any:
    """Read a batch."""
    return batches.read(json.dumps({"events": posted}).encode())


def test_events_keep_their_order_and_controls_are_set_apart():
    batch = read(event(TOPIC, 1), revocation(USER, TOPIC, 5), event(TOPIC, None, "upload-progress"))
    assert [(p.seq, p.type) for p in batch.parcels] == [(1, "chapter-update-complete"), (None, "upload-progress")]
    assert batch.withdrawn == [Revocation(USER, TOPIC, 5)]


def test_the_body_for_clients_is_the_event_without_topic_and_white_space():
    posted = event(TOPIC, 1, newTitle="Überblick")
    (parcel,) = batches.read(json.dumps(posted, indent=2).encode()).parcels
    del posted["topic"]
    assert parcel.body == json.dumps(posted, separators=(",", ":"), ensure_ascii=False).encode()


def test_unknown_types_and_members_pass():
    (parcel,) = read({**event(TOPIC, 1, "thing-happened"), "more": [1]}).parcels
    assert (parcel.type, json.loads(parcel.body)["more"]) == ("thing-happened", [1])


def test_nobodys_operation_may_have_led_to_an_event():
    posted = event(TOPIC, 1)
    del posted["operationId"]
    (parcel,) = read(posted).parcels
    assert parcel.operation_id is None


@pytest.mark.parametrize(
    "change",
    [
        {"topic": None},
        {"topic": "course:1"},
        {"topic": f"user:{USER}"},
        {"topic": 5},
        {"courseId": USER[:-1] + "0"},
        {"courseId": None},
        {"type": None},
        {"type": ""},
        {"type": 5},
        {"type": "x" * 101},
        {"data": None},
        {"data": "x"},
        {"timestamp": None},
        {"timestamp": "now"},
        {"timestamp": -1},
        {"timestamp": 1.5},
        {"seq": 0},
        {"seq": -1},
        {"seq": None},
        {"seq": "1"},
        {"seq": 1.0},
        {"seq": True},
        {"seq": 2**53},
        {"operationId": 5},
        {"operationId": ""},
        {"operationId": "x" * 129},
        {"data": {"title": "\ud800"}},
        {"data": {"title": "x" * events.MAX_BYTES}},
    ],
    ids=lambda change: json.dumps(change)[:40],
)
def test_what_is_malformed_is_named_with_its_index(change: dict[str, Any]):
    with pytest.raises(Malformed) as problem:
        read(event(TOPIC, 1), event(TOPIC, 2) | change)
    assert problem.value.index == 1
    assert str(problem.value)


@pytest.mark.parametrize("encode", [events.encode, batches._encode])
def test_what_is_nested_too_deeply_to_be_written_again_is_malformed(encode: batches.Encode):
    nested: list[Any] = []
    for _ in range(2_000):
        nested = [nested]
    with pytest.raises(ValueError, match="nested"):
        batches._read_event(event(TOPIC, 1, nested=nested), encode)


@pytest.mark.parametrize("posted", [5, None, "x", [], [[]]])
def test_what_is_no_event_at_all_is_malformed(posted: Any):
    with pytest.raises(Malformed) as problem:
        read(posted)
    assert problem.value.index == 0


def test_nul_characters_are_data_like_any_other():
    (parcel,) = read(event(TOPIC, 1, title="a\u0000b")).parcels
    assert json.loads(parcel.body)["data"]["title"] == "a\u0000b"


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_do_more_than_be_malformed(body: bytes):
    with contextlib.suppress(Malformed):
        batches.read(body)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_NAMES = ("type", "topic", "courseId", "userId", "operationId", "seq", "timestamp", "data", "before")


@given(st.dictionaries(st.sampled_from(_NAMES), _JSON))
def test_no_json_does_more_than_be_malformed(change: dict[str, Any]):
    with contextlib.suppress(Malformed):
        read(event(TOPIC, 1) | change, revocation(USER, TOPIC, 1) | change)


def test_a_batch_knows_its_oldest_event_with_a_seq():
    late, early, progress = [event(TOPIC, seq) | {"timestamp": at} for seq, at in ((1, 9), (2, 5), (None, 1))]
    del progress["operationId"]
    assert read(late, early, progress).oldest_ms == 5
    assert read(progress).oldest_ms is None


@pytest.mark.parametrize(
    ("posted", "is_progress"),
    [
        ([], True),
        ([event(TOPIC, None, "upload-progress")], True),
        ([event(TOPIC, None, "upload-progress"), event(TOPIC, 1)], False),
        ([revocation(USER, TOPIC, 1)], False),
    ],
)
def test_only_what_need_not_be_remembered_is_progress(posted: list[Any], is_progress: bool):
    assert read(*posted).is_progress is is_progress


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity"])
def test_a_number_that_json_lacks_refuses_the_event_or_the_body(number: str):
    body = json.dumps({"events": [event(TOPIC, 1), event(TOPIC, 2, size=1234)]}).replace("1234", number)
    with pytest.raises(Malformed) as problem:
        batches.read(body.encode())
    assert problem.value.index == (1 if "e" in number else None)


def test_numbers_of_any_size_arrive_as_they_are():
    numbers = [0, -1, 2**53 + 1, 2**64, 10**40, 0.1, -0.5, 1e300, 5e-324]
    (parcel,) = read(event(TOPIC, 1, numbers=numbers)).parcels
    assert json.loads(parcel.body)["data"]["numbers"] == numbers


@given(_JSON.filter(lambda value: "nan" not in repr(value) and "inf" not in repr(value)))
def test_data_arrives_as_it_is_whichever_way_it_was_read(value: Any):
    (quick,) = read(event(TOPIC, 1, value=value)).parcels
    assert json.loads(quick.body)["data"] == {"value": value}
    content = json.loads(json.dumps(event(TOPIC, 1, value=value)))
    slow = batches._read_event(content, events.encode)
    assert json.loads(slow.body) == json.loads(quick.body)
