"""The connection of an event stream."""

import asyncio
import dataclasses
import socket
from types import SimpleNamespace

import pytest

from broadcast.config import Settings
from broadcast.contracts.frames import CloseCode
from broadcast.sending.turn import Turn
from broadcast.streams.protocol import StreamProtocol
from tests.support.broadcast_fakes import FakeTransport

SETTINGS = Settings(redis_url="redis://", channel_layer_urls=(), broadcast_secret="b", ticket_secret="t")


class FakeConnection:
    """A transport with a real socket, and no loop."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.protocol: object = None

    def getHandle(self) -> socket.socket:  # noqa: N802
        """Give the socket."""
        return self.socket

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        """Set what there is nothing to see of."""


class StuckTransport(FakeTransport):
    """A transport whose client reads nothing more."""

    TLS = True
    connected = True
    aborted = False

    def resumeProducing(self) -> None:  # noqa: N802
        """Read on."""

    def loseConnection(self) -> None:  # noqa: N802
        """Close when everything is written: never."""

    def abortConnection(self) -> None:  # noqa: N802
        """Close at once."""
        self.aborted = True


async def test_a_client_that_does_not_read_the_end_is_cut_off():
    server = SimpleNamespace(settings=dataclasses.replace(SETTINGS, handshake_seconds=0.01))
    stream, transport = StreamProtocol(server, None), StuckTransport()
    stream.transport = transport
    outlet = stream.make_outlet(1000, Turn(call_soon=lambda _: None))
    outlet.close(CloseCode.EXPIRED, b"closing")
    assert (transport.written, transport.aborted) == ([b"closing"], False)
    async with asyncio.timeout(10):
        while not transport.aborted:
            await asyncio.sleep(0.005)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no TCP_USER_TIMEOUT")
def test_a_client_that_vanishes_is_given_up_by_the_kernel_as_late_as_a_silent_websocket():
    settings = dataclasses.replace(SETTINGS, ping_seconds=7, ping_timeout_seconds=4)
    created: list[object] = []
    server = SimpleNamespace(settings=settings, create_application=lambda protocol, _scope: created.append(protocol))
    connection = FakeConnection()
    stream = StreamProtocol(server, None)
    stream.open(connection, {})
    assert connection.protocol is stream is created[0]
    assert connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 11_000
    connection.socket.close()
