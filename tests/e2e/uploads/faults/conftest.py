"""A CourseHub whose parts may be killed, and whose storage has something wrong when a test says so."""

from collections.abc import Iterator

import pytest

from tests.support.faulty_storage import FaultyStorage
from tests.support.films import Sent, film, nothing_is_orphaned
from tests.support.stack import Cast, Course, Site, running

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


@pytest.fixture
def site(frail: Site) -> Site:
    return frail


@pytest.fixture
def people(frail_people: Cast) -> Cast:
    return frail_people


@pytest.fixture(autouse=True)
def tidy(site: Site, faulty: FaultyStorage) -> Iterator[None]:
    """After each of these everything is running again, storage is well, and nothing is orphaned."""
    yield
    nothing_is_orphaned(site, faulty)


@pytest.fixture
def sent(cast: Cast, course: Course) -> Sent:
    """A film of 20 MiB, of which nothing has been sent."""
    return Sent.by(cast.owner, course, film(20))
