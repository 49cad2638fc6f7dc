"""Finding and checking ports."""

import socket

import pytest

from coursehub.stack import errors, ports


@pytest.fixture
def taken() -> socket.socket:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


def test_a_free_port_lies_below_those_the_kernel_gives_to_clients() -> None:
    assert all(20_000 <= ports.free_port() < 32_768 for _ in range(50))


def test_a_port_that_is_listened_on_is_taken(taken: socket.socket) -> None:
    assert not ports.is_free("127.0.0.1", taken.getsockname()[1])


def test_a_taken_port_says_which_variable_to_set_to_what(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    with pytest.raises(errors.PortTaken, match=f"127.0.0.1:{port} is already in use.*PORT={port + 1} make run"):
        ports.require_free("PORT", "127.0.0.1", port)


def test_an_address_of_another_machine_is_refused_with_its_name() -> None:
    with pytest.raises(errors.HostUnusable, match=r"HOST=192\.0\.2\.1"):
        ports.require_free("PORT", "192.0.2.1", 20_000)
