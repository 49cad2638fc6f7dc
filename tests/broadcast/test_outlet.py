"""The way out to one client."""

import pytest

from broadcast.contracts.frames import CloseCode
from broadcast.outlet import Outlet
from broadcast.sending.turn import Turn
from tests.support.broadcast_fakes import FakeTransport, make_parcel


@pytest.fixture
def transport() -> FakeTransport:
    """A transport with room."""
    return FakeTransport()


@pytest.fixture
def closed() -> list[int]:
    """The codes the socket was closed with."""
    return []


@pytest.fixture
def outlet(transport: FakeTransport, closed: list[int]) -> Outlet:
    """An outlet that may keep a thousand bytes."""
    turn = Turn(call_soon=lambda _: None)
    return Outlet(transport, turn=turn, capacity_bytes=1000, close_socket=closed.append, resume_reading=lambda: None)


def progress(number: int, operation_id: str = "upload-1"):
    """Make progress of one upload."""
    return make_parcel(None, type_="upload-progress", operation_id=operation_id, videoId="v", progress=number)


def test_frames_go_to_the_transport_while_it_has_room(transport: FakeTransport, outlet: Outlet):
    taken = make_parcel(1)
    outlet.write(b"frame")
    outlet.deliver(taken)
    assert transport.written == [b"frame", taken.wire]
    assert outlet.waiting_bytes == 0


def test_what_comes_while_it_is_full_waits_and_keeps_its_order(transport: FakeTransport, outlet: Outlet):
    parcels = [make_parcel(seq) for seq in (1, 2, 3)]
    outlet.pauseProducing()
    outlet.deliver(parcels[0])
    outlet.write(b"frame")
    outlet.deliver(parcels[1])
    assert transport.written == []
    outlet.resumeProducing()
    outlet.deliver(parcels[2])
    assert transport.written == [parcels[0].wire, b"frame", parcels[1].wire, parcels[2].wire]
    assert outlet.waiting_bytes == 0


def test_it_stops_again_when_the_transport_is_full_again(transport: FakeTransport, outlet: Outlet):
    outlet.pauseProducing()
    for seq in (1, 2, 3):
        outlet.deliver(make_parcel(seq))
    transport.pause_after = 2
    outlet.resumeProducing()
    assert len(transport.written) == 2
    assert outlet.waiting_bytes > 0
    transport.pause_after = None
    outlet.resumeProducing()
    assert len(transport.written) == 3


def test_progress_gives_way_to_newer_progress(transport: FakeTransport, outlet: Outlet):
    outlet.pauseProducing()
    durable = make_parcel(1)
    outlet.deliver(progress(1))
    outlet.deliver(progress(5, "upload-2"))
    outlet.deliver(durable)
    outlet.deliver(progress(2))
    outlet.resumeProducing()
    assert transport.written == [progress(5, "upload-2").wire, durable.wire, progress(2).wire]


def test_progress_alone_never_fills_it(outlet: Outlet):
    full: list[bool] = []
    outlet.on_full = lambda: full.append(True)
    outlet.pauseProducing()
    for number in range(10_000):
        outlet.deliver(progress(number))
    assert not full
    assert outlet.waiting_bytes < 1000


def test_over_the_bound_the_client_is_given_up(transport: FakeTransport, outlet: Outlet, closed: list[int]):
    outlet.on_full = lambda: outlet.close(CloseCode.TOO_SLOW, b"closing")
    outlet.pauseProducing()
    for seq in range(1, 20):
        outlet.deliver(make_parcel(seq))
    assert transport.written == [b"closing"]
    assert closed == [4101]
    assert (outlet.is_open, outlet.waiting_bytes) == (False, 0)


def test_nothing_follows_the_end(transport: FakeTransport, outlet: Outlet, closed: list[int]):
    outlet.close(CloseCode.EXPIRED, b"closing")
    outlet.deliver(make_parcel(1))
    outlet.write(b"frame")
    outlet.close(CloseCode.EXPIRED, b"closing again")
    outlet.resumeProducing()
    assert transport.written == [b"closing"]
    assert closed == [4002]
    # Twisted waits for a producer before it closes.
    assert transport.producer is None


def test_a_transport_that_is_gone_ends_it(transport: FakeTransport, outlet: Outlet):
    outlet.stopProducing()
    outlet.deliver(make_parcel(1))
    assert transport.written == []


def test_it_takes_over_as_the_producer_of_its_transport(transport: FakeTransport, outlet: Outlet):
    assert transport.producer is outlet
