import json
import struct

from benchmarks.broadcast import wire
from benchmarks.broadcast.wire import EVENT_BYTES, Event, Opening, Post


def test_every_event_has_the_same_length_with_and_without_a_seq() -> None:
    events = [Event(wire.topic(1), 7, 1), Event(wire.topic(2), 1_234_567, 4_000_000), Event(wire.topic(3), 8, None)]

    assert {len(wire.encode(event.envelope())) for event in events} == {EVENT_BYTES}


def test_a_progress_event_has_no_seq_and_an_operation_of_its_own() -> None:
    first, second = (Event(wire.topic(1), number, None).envelope() for number in (1, 2))

    assert "seq" not in first
    assert first["operationId"] != second["operationId"]


def test_a_client_frame_is_masked_and_says_its_length() -> None:
    short, long = wire.client_frames({"a": 1}), wire.client_frames({"a": "x" * 200})

    assert short == b"\x81\x87" + bytes(4) + b'{"a":1}'
    assert long[:4] == b"\x81\xfe" + struct.pack("!H", 208)
    assert json.loads(long[8:]) == {"a": "x" * 200}


def test_clients_beyond_ten_thousand_come_from_another_address() -> None:
    first, later = (struct.unpack("=I", Opening(b"").pack(number)[:4])[0] for number in (9_999, 10_000))

    assert (first, later) == (0x7F000001, 0x7F000002)


def test_a_client_that_saw_nothing_differs_from_one_that_does_not_resume() -> None:
    anew, from_start = (struct.unpack("=7I", Opening(b"", seen=seen).pack(0))[4] for seen in (None, 0))

    assert (anew, from_start) == (0, 1)


def test_a_file_begins_with_the_number_of_its_items() -> None:
    packed = wire.pack_all([Post(b"POST", 3, 2, 10).pack()])

    assert packed == struct.pack("=5I", 1, 4, 3, 2, 10) + b"POST"
