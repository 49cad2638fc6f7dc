"""What tests of operations begin with."""

import pytest

from apps.operations import hints, lanes
from tests.apps.operations.notes import Notes


@pytest.fixture(autouse=True)
def open_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget that a broker was away in an earlier test."""
    monkeypatch.setattr(hints, "_closed_until", 0.0)


@pytest.fixture
def notes() -> Notes:
    """The lanes of the tests' own, ``note:…``."""
    notes = Notes()
    lanes.register("note", notes)
    return notes
