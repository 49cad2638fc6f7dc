"""A Valkey of our own: behind a password, on the same port after every start, with its data."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from coursehub.stack import errors
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.valkey import Valkey
from coursehub.stack.watchdog import Watchdog


@pytest.fixture
def server(data: DataDirectory, watchdog: Watchdog) -> Iterator[Valkey]:
    server = Valkey(data, watchdog=watchdog, env=os.environ)
    server.start()
    yield server
    server.stop()


def test_nobody_gets_in_without_the_password(server: Valkey) -> None:
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=server.port).ping()


def test_the_password_is_no_argument_that_others_can_see(server: Valkey) -> None:
    assert server.child
    seen = Path(f"/proc/{server.child.pid}/cmdline").read_text()
    assert server.url.split(":")[2].partition("@")[0] not in seen


def test_it_listens_on_loopback_only(server: Valkey) -> None:
    assert redis.Redis.from_url(server.url).config_get("bind") == {"bind": "127.0.0.1"}


def test_its_data_and_its_port_survive_a_kill(server: Valkey) -> None:
    port = server.port
    redis.Redis.from_url(server.url).set("kept", "yes")
    assert server.child
    server.child.reap()
    server.start()
    assert server.port == port
    assert redis.Redis.from_url(server.url).get("kept") == b"yes"


def test_a_server_that_a_killed_run_left_is_replaced(server: Valkey, data: DataDirectory, watchdog: Watchdog) -> None:
    redis.Redis.from_url(server.url).set("kept", "yes")
    again = Valkey(data, watchdog=watchdog, env=os.environ)
    again.start()
    assert server.child and not server.child.running
    assert redis.Redis.from_url(again.url).get("kept") == b"yes"
    again.stop()


def test_a_start_that_fails_is_told_in_the_servers_own_words(server: Valkey) -> None:
    server.stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", server.port))
        taken.listen()
        with pytest.raises(errors.StartFailed, match=r"(?s)valkey did not start.*Address already in use"):
            server.start()
