"""What the tests of the broadcast service have in common."""

from collections.abc import Iterator

import pytest

from tests.support.broadcast_valkey import Valkey


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[Valkey]:
    """A Valkey for tests that do it no harm."""
    server = Valkey().start()
    yield server
    server.close()


@pytest.fixture
def empty_valkey(shared_valkey: Valkey) -> Valkey:
    """The same, with nothing in it."""
    shared_valkey.client.flushall()
    return shared_valkey
