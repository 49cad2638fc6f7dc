"""An outlet on a real socket: from there to Twisted's buffer, to its own, and back."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadcast.contracts.frames import CloseCode
from broadcast.hub import Hub
from broadcast.parcel import text_frame
from broadcast.sending.turn import Turn
from tests.broadcast.sending.test_turn import join, make_hub, seqs
from tests.support.broadcast_fakes import make_parcel
from tests.support.broadcast_wires import WireClient

PONG = b"\x8a\x00"


def emit(hub: Hub, turn: Turn, *numbers: int, size: int = 1000) -> None:
    """Emit events, each in a turn of its own."""
    for seq in numbers:
        hub.emit(make_parcel(seq, title="x" * size))
        turn.flush()


def progress(number: int):
    """Make progress of one upload."""
    return make_parcel(None, type_="upload-progress", operation_id="upload-1", videoId="v", progress=number)


def lagging(turn: Turn, **options) -> tuple[Hub, WireClient, int]:
    """Make a client whose socket is full, with the newest seq that it was sent."""
    hub, client = make_hub(turn), WireClient(turn, small=True, **options)
    join(hub, client)
    seq = 0
    while not turn.lines.laggards:
        seq += 1
        emit(hub, turn, seq)
    return hub, client, seq


def test_a_client_that_keeps_up_never_meets_the_transport(turn: Turn):
    hub, client = make_hub(turn), WireClient(turn)
    join(hub, client)
    emit(hub, turn, 1, 2)
    client.outlet.write(b"frame")
    client.outlet.pass_on(PONG)
    assert client.transport.buffer == b""
    assert client.wire.received().endswith(b"frame" + PONG)


def test_a_laggard_gets_everything_once_and_in_order(turn: Turn):
    hub, client, seq = lagging(turn)
    emit(hub, turn, *range(seq + 1, seq + 101))
    assert client.outlet.waiting_bytes > 0
    assert seqs(client.read_all()) == [("7", number) for number in range(1, seq + 101)]


def test_a_laggard_that_caught_up_is_written_to_directly_again(turn: Turn):
    hub, client, seq = lagging(turn)
    client.read_all()
    assert (turn.lines.laggards, client.outlet.waiting_bytes) == (0, 0)
    emit(hub, turn, seq + 1)
    assert client.transport.buffer == b""
    assert seqs(client.wire.received()) == [("7", seq + 1)]


def test_while_the_transport_has_something_to_write_nobody_else_writes(turn: Turn):
    hub, client, seq = lagging(turn)
    client.wire.received()
    # There is room again, but what Twisted has comes first.
    emit(hub, turn, seq + 1)
    client.outlet.write(text_frame(b'{"type":"pong"}'))
    turn.flush()
    assert client.wire.received() == b""
    assert client.transport.buffer


def test_the_transport_never_holds_more_than_a_frame(turn: Turn):
    hub, client, seq = lagging(turn)
    emit(hub, turn, *range(seq + 1, seq + 50))
    client.wire.received()
    client.transport.flush()
    assert len(client.transport.buffer) <= len(make_parcel(seq, title="x" * 1000).wire) + 8


def test_progress_gives_way_to_newer_progress_and_is_counted(turn: Turn):
    hub, client, _ = lagging(turn)
    superseded: list[bool] = []
    turn.lines.on_superseded = lambda: superseded.append(True)
    client.wire.received()
    for number in range(100):
        hub.emit(progress(number))
        turn.flush()
    assert client.outlet.waiting_bytes == len(progress(99).wire)
    assert len(superseded) == 99
    assert client.read_all().endswith(progress(99).wire)


def test_of_pongs_to_a_laggard_only_the_newest_waits(turn: Turn):
    _, client, _ = lagging(turn)
    for number in range(1000):
        client.outlet.pass_on(b"\x8a\x02%02d" % (number % 100))
    assert client.outlet.waiting_bytes == 4
    assert client.read_all().endswith(b"\x8a\x0299")


def test_over_the_bound_the_client_is_given_up_and_the_others_are_not(turn: Turn):
    hub, client, seq = lagging(turn, capacity_bytes=5000)
    other = WireClient(turn)
    client.outlet.on_full = lambda: client.outlet.close(CloseCode.TOO_SLOW, text_frame(b'{"type":"closing"}'))
    subscription = hub.subscribe("course:01890a5d-ac96-774b-bcce-b302099a8057", client, other.outlet)
    hub.start(subscription, seq)
    emit(hub, turn, *range(seq + 1, seq + 20))
    assert client.closed_with == 4101
    assert turn.lines.laggards == 0
    got = seqs(client.read_all())
    assert got == [("7", number) for number in range(1, len(got))] + [("closing", 0)]
    assert seqs(other.read_all()) == [("7", number) for number in range(seq + 1, seq + 20)]


def test_a_broken_connection_is_left_to_the_transport(turn: Turn):
    hub, client = make_hub(turn), WireClient(turn)
    join(hub, client)
    client.wire.far.close()
    emit(hub, turn, 1)
    assert client.transport.buffer == make_parcel(1, title="x" * 1000).wire
    assert turn.lines.laggards == 1


def test_a_connection_that_the_transport_knows_to_be_gone_counts_as_no_laggard(turn: Turn):
    hub, client = make_hub(turn), WireClient(turn)
    join(hub, client)
    client.wire.far.close()
    # As Twisted does where the connection is gone.
    client.transport.registerProducer = lambda producer, streaming: producer.stopProducing()
    emit(hub, turn, 1)
    assert (client.outlet.is_open, turn.lines.laggards) == (False, 0)


def test_what_the_transport_had_to_write_before_goes_out_first(turn: Turn):
    client = WireClient(turn)
    earlier = WireClient(turn)
    transport = earlier.transport
    earlier.outlet.shut()
    transport.write(b"the answer before")
    outlet = type(earlier.outlet)(
        transport,
        turn=turn,
        capacity_bytes=1000,
        close_socket=lambda _: None,
        resume_reading=lambda: None,
        socket=earlier.wire.near.fileno(),
        is_idle=False,
    )
    outlet.pass_on(b"HTTP/1.1 101")
    assert earlier.wire.received() == b""
    assert earlier.read_all() == b"the answer beforeHTTP/1.1 101"
    outlet.write(b"directly")
    turn.flush()
    assert (transport.buffer, earlier.wire.received()) == (b"", b"directly")
    assert client.outlet.is_open


def test_without_a_socket_of_its_own_everything_goes_through_the_transport(turn: Turn):
    hub, client = make_hub(turn), WireClient(turn, direct=False)
    join(hub, client)
    hub.emit(make_parcel(1))
    hub.emit(make_parcel(2))
    turn.flush()
    assert client.wire.received() == b""
    assert client.transport.buffer == make_parcel(1).wire + make_parcel(2).wire
    client.outlet.pauseProducing()
    emit(hub, turn, 3)
    assert client.outlet.waiting_bytes > 0
    client.outlet.resumeProducing()
    assert seqs(client.read_all()) == [("7", 1), ("7", 2), ("7", 3)]


@pytest.mark.parametrize("is_lagging", [False, True])
def test_after_a_detour_everything_goes_through_the_transport(turn: Turn, is_lagging: bool):
    if is_lagging:
        hub, client, seq = lagging(turn)
        emit(hub, turn, seq + 1)
    else:
        hub, client, seq = make_hub(turn), WireClient(turn), -1
        join(hub, client)
    client.outlet.detour()
    before = client.transport.buffer
    emit(hub, turn, seq + 2)
    assert client.transport.buffer == before + make_parcel(seq + 2, title="x" * 1000).wire
    assert [number for _, number in seqs(client.read_all())] == list(range(1, seq + 3))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("emit"), st.integers(1, 5), st.integers(1, 6000)),
            st.tuples(st.sampled_from(["flush", "read", "transport", "frame"]), st.just(0), st.just(0)),
        ),
        max_size=40,
    )
)
def test_whatever_happens_when_a_client_gets_every_event_once_and_in_order(
    turn: Turn, steps: list[tuple[str, int, int]]
):
    hub, client = make_hub(turn), WireClient(turn, small=True)
    join(hub, client)
    seq, got, expected = 0, b"", []
    for kind, count, size in steps:
        if kind == "emit":
            for _ in range(count):
                seq += 1
                expected.append(("7", seq))
                hub.emit(make_parcel(seq, title="x" * size))
        elif kind == "flush":
            turn.flush()
        elif kind == "read":
            got += client.wire.received()
        elif kind == "transport":
            client.transport.flush()
        else:
            expected.append(("heartbeat", 0))
            client.outlet.write(text_frame(b'{"type":"heartbeat"}'))
    turn.flush()
    assert seqs(got + client.read_all()) == expected
    assert turn.lines.laggards == 0
    client.wire.close()
    client.outlet.shut()
