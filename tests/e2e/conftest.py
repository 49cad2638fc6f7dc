"""One CourseHub for all tests that leave it whole; those that break it have their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.client import Api, Listener
from tests.support.stack import Audience, Cast, Course, Listen, Site, running

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here starts real processes."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """The session's CourseHub."""
    with running() as site:
        yield site


@pytest.fixture(scope="session")
def people(site: Site) -> Cast:
    """Its users."""
    return Cast.of(site)


@pytest.fixture
def cast(people: Cast) -> Iterator[Cast]:
    """Its users on connections of the test's own: the API closes those that are idle for long, or it may have died."""
    cast = people.again()
    yield cast
    cast.close()


@pytest.fixture(scope="session")
def fragile() -> Iterator[Site]:
    """Another CourseHub, for tests that kill its parts and bring them back."""
    with running() as site:
        yield site


@pytest.fixture(scope="session")
def fragile_people(fragile: Site) -> Cast:
    return Cast.of(fragile)


@pytest.fixture
def owner(cast: Cast) -> Api:
    return cast.owner


@pytest.fixture
def editor(cast: Cast) -> Api:
    return cast.editor


@pytest.fixture
def viewer(cast: Cast) -> Api:
    return cast.viewer


@pytest.fixture
def stranger(cast: Cast) -> Api:
    return cast.stranger


@pytest.fixture
def course(site: Site, cast: Cast) -> Course:
    """A course for one test: two chapters of two videos, with an editor and a viewer."""
    return site.new_course(cast)


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Connects users to the WebSocket, and closes what a test opened."""
    opened: list[Listener] = []

    def connect(api: Api, *courses: Course, since: int | None = None) -> Listener:
        opened.append(Listener.of(api, *(course.id for course in courses), since=since))
        return opened[-1]

    yield connect
    for listener in opened:
        listener.close()


@pytest.fixture
def audience(course: Course, cast: Cast, listen: Listen) -> Audience:
    """Everyone's tabs on the test's course."""
    return Audience(course, cast, listen)
