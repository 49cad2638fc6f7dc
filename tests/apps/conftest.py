"""Tests of the API's apps: a real PostgreSQL and Valkey, no processes; Celery's jobs run where they are sent from."""

from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from apps.accounts.models import User
from apps.core.redis import client
from apps.operations import hints, tasks
from apps.outbox import drainer
from tests.support.api import ApiClient, a_user

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here really commits: what is to be shown happens at the commit."""
    for item in items:
        if _HERE in item.path.parents and "pure" not in item.keywords:
            item.add_marker(pytest.mark.django_db(transaction=True))


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Leave the database: its server goes with the session."""
    return True


@pytest.fixture(autouse=True)
def woken() -> Iterator[list[set[str]]]:
    """Collect the topics for which the drainer is woken; nothing is delivered unless a test does it."""
    topics: list[set[str]] = []

    def remember(names: Collection[str]) -> None:
        topics.append(set(names))

    drainer.use(remember)
    yield topics
    drainer.use(None)


@pytest.fixture(autouse=True)
def fresh_redis() -> None:
    """Forget what earlier tests counted."""
    client().flushdb()


@pytest.fixture
def workers() -> Iterator[None]:
    """Have each job run at once, as if a worker were infinitely fast."""
    hints.use(tasks.run_lane)
    yield
    hints.use(None)


@pytest.fixture
def owner() -> User:
    return a_user("olga")


@pytest.fixture
def stranger() -> User:
    return a_user("stan")


@pytest.fixture
def api(owner: User) -> ApiClient:
    """The API as the owner uses it; no job runs unless the test also has ``workers``."""
    return ApiClient(owner)


@pytest.fixture
def live(api: ApiClient, workers: None) -> ApiClient:
    """The API as the owner uses it, with each job done at once."""
    return api
