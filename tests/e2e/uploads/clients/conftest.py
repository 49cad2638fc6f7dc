"""A film that clients upload, and those who watch."""

from functools import cache

import pytest

from demo.client import Api
from tests.e2e.uploads.clients.film import Film
from tests.support import media
from tests.support.stack import Course, Listen

MIB = 1024 * 1024


@cache
def content() -> bytes:
    """A film of a part and some more."""
    return media.with_stuffing(media.video(), 9 * MIB)


@pytest.fixture
def film(owner: Api, course: Course, listen: Listen) -> Film:
    """A film for the course's first chapter, with a tab that is open already."""
    return Film(owner, course, listen(owner, course), content())
