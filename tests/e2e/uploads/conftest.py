"""A CourseHub whose parts may be killed, and whose storage has something wrong when a test says so."""

from collections.abc import Iterator

import pytest

from tests.support.faulty_storage import FaultyStorage
from tests.support.stack import Cast, Site, running

PLACES = 3
"""How many requests may bring bytes at the same time."""


@pytest.fixture(scope="session")
def faulty() -> Iterator[FaultyStorage]:
    """The storage of `frail`."""
    with FaultyStorage() as storage:
        yield storage


@pytest.fixture(scope="session")
def frail(faulty: FaultyStorage) -> Iterator[Site]:
    """The CourseHub."""
    with running(given={**faulty.env, "UPLOADS_AT_ONCE": str(PLACES)}) as site:
        yield site


@pytest.fixture(scope="session")
def frail_people(frail: Site) -> Cast:
    """Its users."""
    return Cast.of(frail)
