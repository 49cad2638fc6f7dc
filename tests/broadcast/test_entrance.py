"""The entrance: what a connection turns out to be, and how long it may take to say."""

from typing import Any

from broadcast.entrance import Entrance, Waiting
from broadcast.handshake import Upgrade
from tests.broadcast.test_handshake import head


class FakeTransport:
    """Keeps what was done to it."""

    protocol: Any = None

    def __init__(self) -> None:
        self.disconnecting = self.aborted = False

    def loseConnection(self) -> None:  # noqa: N802
        self.disconnecting = True

    def abortConnection(self) -> None:  # noqa: N802
        self.aborted = True


class FakeProtocol:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.data = b""

    def makeConnection(self, transport: Any) -> None:  # noqa: N802
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self.data += data


class FakeHouse:
    """Keeps what was asked of it."""

    def __init__(self) -> None:
        self.half_open = Waiting(capacity=2, patience_seconds=5, on_cut=lambda: self.cut.append(1))
        self.cut: list[int] = []
        self.channel = FakeProtocol()
        self.opened: list[tuple[Upgrade, bytes]] = []

    def make_channel(self) -> FakeProtocol:
        return self.channel

    def open_socket(self, transport: Any, upgrade: Upgrade, rest: bytes) -> None:
        self.opened.append((upgrade, rest))


def arrive(house: FakeHouse, now: float = 0) -> Entrance:
    entrance = Entrance(house, lambda: now)
    entrance.makeConnection(FakeTransport())  # type: ignore[arg-type]
    return entrance


def test_a_plain_upgrade_opens_a_socket_however_its_bytes_come():
    house = FakeHouse()
    entrance = arrive(house)
    for byte in head():
        assert not house.opened
        entrance.dataReceived(bytes([byte]))
    assert [rest for _, rest in house.opened] == [b""]
    assert len(house.half_open) == 0


def test_what_a_client_sends_right_after_its_request_is_not_lost():
    house = FakeHouse()
    arrive(house).dataReceived(head() + b"frame")
    assert [rest for _, rest in house.opened] == [b"frame"]


def test_an_unusual_upgrade_and_any_other_request_get_an_http_channel_with_all_that_came():
    for request in (head(Connection="close"), b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"):
        house = FakeHouse()
        entrance = arrive(house)
        entrance.dataReceived(request[:10])
        assert house.channel.data == b""
        entrance.dataReceived(request[10:])
        assert house.channel.data == request
        assert entrance.transport.protocol is house.channel  # type: ignore[union-attr]
        assert not house.opened


def test_a_head_without_an_end_is_for_twisted_to_refuse():
    house = FakeHouse()
    arrive(house).dataReceived(b"GET /ws/?" + b"x" * 20_000)
    assert len(house.channel.data) == 20_009


def test_one_too_many_cuts_off_the_one_that_has_been_silent_for_longest():
    house = FakeHouse()
    first, second, third = (arrive(house, now) for now in (0, 1, 2))
    assert [entrance.transport.aborted for entrance in (first, second, third)] == [True, False, False]  # type: ignore[union-attr]
    assert (len(house.half_open), house.cut) == (2, [1])


def test_who_says_nothing_is_closed_and_who_does_not_let_itself_be_closed_is_cut_off():
    house = FakeHouse()
    transport: Any = arrive(house).transport
    house.half_open.sweep(4.9)
    assert not transport.disconnecting
    house.half_open.sweep(5)
    assert transport.disconnecting and not transport.aborted
    house.half_open.sweep(10)
    assert transport.aborted
    assert len(house.half_open) == 0


def test_who_leaves_is_forgotten():
    house = FakeHouse()
    arrive(house).connectionLost()
    assert len(house.half_open) == 0
