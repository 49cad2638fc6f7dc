"""What the relay says of a chore that fails again and again."""

import logging
from collections.abc import Callable

import pytest
from django.db import OperationalError

from apps.outbox.bridge import BridgeAway
from apps.outbox.complaints import Complaints
from tests.support.clock import Clock

pytestmark = pytest.mark.pure

AWAY = OperationalError("connection refused\n\tIs the server running?")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was said since it was asked last."""
    caplog.set_level(logging.INFO)

    def take() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    return take


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def complaints(clock: Clock) -> Complaints:
    return Complaints("sweep", clock.monotonic)


def test_the_same_failure_is_said_after_pauses_that_double_up_to_ten_minutes(
    complaints: Complaints, clock: Clock, said: Callable[[], list[str]]
) -> None:
    times = []
    for second in range(2400):
        complaints.failed(AWAY)
        if said():
            times.append(second)
        clock.pass_(1)

    assert times == [0, 10, 30, 70, 150, 310, 630, 1230, 1830]


def test_another_reason_is_said_at_once(complaints: Complaints, said: Callable[[], list[str]]) -> None:
    for error in (AWAY, AWAY, BridgeAway("status 503"), BridgeAway("status 503"), BridgeAway("refused")):
        complaints.failed(error)

    assert said() == ["A chore failed.", "The broadcast service is away.", "The broadcast service is away."]


def test_that_it_works_again_is_said_once_and_then_a_failure_is_new(
    complaints: Complaints, said: Callable[[], list[str]]
) -> None:
    complaints.worked()
    complaints.failed(AWAY)
    complaints.worked()
    complaints.worked()
    complaints.failed(AWAY)

    assert said() == ["A chore failed.", "A chore works again.", "A chore failed."]


def test_an_outage_is_one_line_with_its_reason(complaints: Complaints, caplog: pytest.LogCaptureFixture) -> None:
    complaints.failed(AWAY)
    (record,) = caplog.records

    assert not record.exc_info
    assert (record.chore, record.reason) == (  # type: ignore[attr-defined]
        "sweep",
        "OperationalError: connection refused Is the server running?",
    )


def test_what_nobody_thought_of_keeps_its_traceback(complaints: Complaints, caplog: pytest.LogCaptureFixture) -> None:
    complaints.failed(ValueError("nobody thought of it"))
    (record,) = caplog.records

    assert record.exc_info and record.exc_info[0] is ValueError
