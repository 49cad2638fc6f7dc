"""What tests of uploads begin with: storage in memory, files that are videos, and a bridge that remembers progress."""

import threading
from collections.abc import Iterator

import pytest

from apps.accounts.models import User
from apps.outbox import progress
from apps.outbox.progress import Sender
from apps.uploads import completion, hints, looking, storage
from tests.support.api import ApiClient
from tests.support.bridge import MemoryBridge
from tests.support.memory_store import MemoryStore
from tests.support.uploading import Looker, Tus


@pytest.fixture(autouse=True)
def store() -> Iterator[MemoryStore]:
    store = MemoryStore()
    storage.use(store)
    yield store
    storage.use(None)


@pytest.fixture(autouse=True)
def looker(store: MemoryStore) -> Iterator[Looker]:
    looker = Looker(store)
    looking.use(looker)
    yield looker
    looking.use(None)


@pytest.fixture(autouse=True)
def bridge() -> Iterator[MemoryBridge]:
    """Where progress goes."""
    bridge = MemoryBridge()
    sender = Sender(bridge)
    threading.Thread(target=sender.run, daemon=True).start()
    progress.use(sender)
    yield bridge
    progress.use(None)


@pytest.fixture
def tus(owner: User) -> Tus:
    return Tus(owner)


@pytest.fixture
def course(live: ApiClient) -> str:
    """A course of the owner's, with workers that are infinitely fast."""
    return live.course()


@pytest.fixture
def chapter(live: ApiClient, course: str) -> str:
    return live.chapter(course)


@pytest.fixture
def workers(workers: None) -> Iterator[None]:
    """Workers that are infinitely fast at completing uploads, too."""
    hints.use(completion.complete)
    yield
    hints.use(None)
