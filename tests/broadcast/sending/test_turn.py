"""The events of one turn of the loop, joined, and what may not overtake them."""

import asyncio
import json
import logging
from collections.abc import Sequence

import pytest

from broadcast.hub import Hub
from broadcast.parcel import Parcel, text_frame
from broadcast.sending.loops import Part, PythonLoop, Rest, SendLoop
from broadcast.sending.turn import Turn, Written
from tests.support.broadcast_fakes import TOPIC, RecordingListener, make_parcel
from tests.support.broadcast_wires import WireClient

OTHER = TOPIC[:-1] + "8"


class CountingLoop(PythonLoop):
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def send(self, parts: Sequence[Part], sockets) -> list[Rest]:
        """Count, and send."""
        self.calls += 1
        return super().send(parts, sockets)


def make_hub(turn: Turn) -> Hub:
    """Make a hub that nobody watches."""
    return Hub(on_change=lambda *_: None, turn=turn)


def join(hub: Hub, client: WireClient, topic: str = TOPIC):
    """Let a client hear a topic from its beginning."""
    subscription = hub.subscribe(topic, RecordingListener(), client.outlet)
    hub.settle(topic, 0)
    hub.start(subscription, 0)
    return subscription


def seqs(data: bytes) -> list[tuple[str, int]]:
    """Read events off a wire: the last character of the topic, and the seq."""
    found = []
    while data:
        header = {126: 4, 127: 10}.get(data[1], 2)
        size = data[1] if header == 2 else int.from_bytes(data[2:header], "big")
        event = json.loads(data[header : header + size])
        found.append((event["courseId"][-1], event["seq"]) if "courseId" in event else (event["type"], 0))
        data = data[header + size :]
    return found


def test_events_of_one_turn_are_one_write_for_each_client(turn: Turn):
    turn.loop = counting = CountingLoop()
    hub, clients = make_hub(turn), [WireClient(turn) for _ in range(3)]
    for client in clients:
        join(hub, client)
    for seq in range(1, 6):
        hub.emit(make_parcel(seq))
    assert [client.wire.received() for client in clients] == [b"", b"", b""]
    turn.flush()
    assert [seqs(client.wire.received()) for client in clients] == [[("7", seq) for seq in range(1, 6)]] * 3
    assert counting.calls == 1


def test_a_client_of_several_topics_gets_each_in_its_order(turn: Turn):
    hub, both, one = make_hub(turn), WireClient(turn), WireClient(turn)
    join(hub, both), join(hub, both, OTHER), join(hub, one, OTHER)
    for topic, seq in ((TOPIC, 1), (OTHER, 1), (TOPIC, 2), (OTHER, 2)):
        hub.emit(make_parcel(seq, topic=topic))
    turn.flush()
    assert seqs(both.wire.received()) == [("7", 1), ("7", 2), ("8", 1), ("8", 2)]
    assert seqs(one.wire.received()) == [("8", 1), ("8", 2)]


async def test_a_lone_event_goes_out_when_the_turn_is_over(loop: SendLoop):
    turn = Turn(loop)
    hub, client = make_hub(turn), WireClient(turn)
    join(hub, client)
    hub.emit(make_parcel(1))
    await asyncio.sleep(0)
    assert seqs(client.wire.received()) == [("7", 1)]


def test_a_frame_to_a_client_comes_after_the_events_that_were_emitted_before_it(turn: Turn):
    hub, client = make_hub(turn), WireClient(turn)
    join(hub, client)
    hub.emit(make_parcel(1))
    client.outlet.write(text_frame(b'{"type":"heartbeat"}'))
    hub.emit(make_parcel(2))
    turn.flush()
    assert seqs(client.wire.received()) == [("7", 1), ("heartbeat", 0), ("7", 2)]


def test_frames_to_a_client_within_a_turn_are_one_write(turn: Turn):
    client = WireClient(turn, direct=False)
    written: list[bytes] = []
    client.transport.write = written.append
    for number in range(3):
        client.outlet.write(b"%d" % number)
    assert written == []
    turn.flush()
    turn.flush()
    assert written == [b"012"]


async def test_a_lone_frame_goes_out_when_the_turn_is_over(loop: SendLoop):
    client = WireClient(Turn(loop))
    client.outlet.write(b"frame")
    assert client.wire.received() == b""
    await asyncio.sleep(0)
    assert client.wire.received() == b"frame"


def test_what_must_not_wait_does_not_overtake_the_frames_before_it(turn: Turn):
    client, other = WireClient(turn), WireClient(turn)
    client.outlet.write(b"HTTP/1.1 101")
    other.outlet.pass_on(b"\x89\x00")
    assert (client.wire.received(), other.wire.received()) == (b"", b"\x89\x00")
    client.outlet.pass_on(b"\x89\x00")
    assert client.wire.received() == b"HTTP/1.1 101\x89\x00"


def test_frames_that_are_much_together_do_not_wait_for_the_end(turn: Turn):
    client = WireClient(turn)
    for _ in range(6):
        client.outlet.write(b"x" * 50_000)
    assert client.read_all() == b"x" * 300_000


def test_a_connection_that_is_lost_within_a_turn_gets_none_of_its_frames(turn: Turn):
    gone, other = WireClient(turn), WireClient(turn)
    gone.outlet.write(b"lost")
    other.outlet.write(b"kept")
    gone.outlet.shut()
    turn.flush()
    assert (gone.wire.received(), other.wire.received()) == (b"", b"kept")


def test_a_client_whose_frame_fails_stops_no_other(turn: Turn, caplog: pytest.LogCaptureFixture):
    broken, after = WireClient(turn, direct=False), WireClient(turn)
    broken.transport.write = broken.wire.near.sendall
    broken.wire.near.close()
    for client in (broken, after):
        client.outlet.write(b"frame")
    with caplog.at_level(logging.ERROR):
        turn.flush()
    assert after.wire.received() == b"frame"
    assert [record.msg for record in caplog.records] == ["A client failed"]


def test_the_last_frame_comes_after_the_events_that_were_emitted_before_it(turn: Turn):
    hub, client = make_hub(turn), WireClient(turn)
    join(hub, client)
    hub.emit(make_parcel(1))
    client.outlet.close(4201, text_frame(b'{"type":"closing"}'))
    hub.emit(make_parcel(2))
    turn.flush()
    assert seqs(client.read_all()) == [("7", 1), ("closing", 0)]
    assert client.closed_with == 4201


def test_who_joins_within_a_turn_hears_what_comes_from_then_on(turn: Turn):
    hub, early, late = make_hub(turn), WireClient(turn), WireClient(turn)
    join(hub, early)
    hub.emit(make_parcel(1))
    subscription = hub.subscribe(TOPIC, RecordingListener(), late.outlet)
    hub.emit(make_parcel(2))
    hub.start(subscription, 1)
    hub.emit(make_parcel(3))
    turn.flush()
    assert seqs(early.wire.received()) == [("7", 1), ("7", 2), ("7", 3)]
    assert seqs(late.wire.received()) == [("7", 2), ("7", 3)]


def test_who_leaves_within_a_turn_gets_what_came_until_then_before_the_word_of_it(turn: Turn):
    hub, client = make_hub(turn), WireClient(turn)
    subscription = join(hub, client)
    hub.emit(make_parcel(1))
    hub.unsubscribe(subscription)
    client.outlet.write(text_frame(b'{"type":"unsubscribed"}'))
    hub.emit(make_parcel(2))
    turn.flush()
    assert seqs(client.wire.received()) == [("7", 1), ("unsubscribed", 0)]


def test_so_much_that_copies_would_cost_does_not_wait_for_the_end(turn: Turn):
    hub, client = make_hub(turn), WireClient(turn)
    join(hub, client)
    for seq in range(1, 7):
        hub.emit(make_parcel(seq, title="x" * 50_000))
    assert seqs(client.read_all()) == [("7", seq) for seq in range(1, 7)]


def test_a_client_that_fails_stops_no_other_and_is_counted(turn: Turn, caplog: pytest.LogCaptureFixture):
    written: list[Written] = []
    hub, broken, after = make_hub(turn), WireClient(turn, direct=False), WireClient(turn)
    turn.on_written = written.extend
    broken.transport.write = broken.wire.near.sendall
    broken.wire.near.close()
    for client in (broken, after):
        join(hub, client)
    hub.emit(make_parcel(1))
    with caplog.at_level(logging.ERROR):
        turn.flush()
    assert seqs(after.wire.received()) == [("7", 1)]
    assert (written[0].deliveries, written[0].failed) == (2, 1)
    assert caplog.records[0].topic == TOPIC


def test_listeners_without_an_outlet_hear_at_once_and_count_with_the_others(turn: Turn):
    seen: list[tuple[int, int, int]] = []
    hub, client, listener = make_hub(turn), WireClient(turn), RecordingListener()
    hub.watch(lambda written: seen.extend((len(each.parcels), each.deliveries, each.failed) for each in written))
    join(hub, client)
    hub.start(hub.subscribe(TOPIC, listener), 0)
    hub.emit(make_parcel(1))
    hub.emit(make_parcel(2))
    assert listener.heard == [1, 2]
    turn.flush()
    assert seen == [(2, 4, 0)]


def test_a_flush_without_events_writes_nothing(turn: Turn):
    turn.loop = counting = CountingLoop()
    turn.flush()
    assert counting.calls == 0


def test_an_event_is_framed_once_however_often_it_is_written(turn: Turn):
    hub, clients, taken = make_hub(turn), [WireClient(turn) for _ in range(3)], make_parcel(1)
    for client in clients:
        join(hub, client)
    hub.emit(taken)
    turn.flush()
    assert [client.wire.received() for client in clients] == [taken.wire] * 3
    assert isinstance(taken, Parcel)
