"""What is logged when a part is away: a line; and a traceback for everything else."""

import logging
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection
from kombu.exceptions import OperationalError as BrokerAway

from apps.core import outages, rendering, sql
from apps.operations import hints, runner, tasks
from apps.uploads.storage import StorageAway

LOG = logging.getLogger("test")


def _error_of(statement: str) -> Exception:
    """What a statement raises."""
    with pytest.raises(OperationalError) as caught:
        sql.execute(statement, [])
    connection.close()
    return caught.value


def test_a_database_that_goes_is_said_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    gone = _error_of("SELECT pg_terminate_backend(pg_backend_pid())")
    assert rendering.translate(gone).status == 503
    (record,) = caplog.records

    assert record.getMessage() == "The database is away."
    assert not record.exc_info
    assert "\n" not in record.reason  # type: ignore[attr-defined]


def test_storage_that_is_away_has_a_reason_too() -> None:
    assert outages.reason(StorageAway("Connect timeout")) == "StorageAway: Connect timeout"


def test_what_the_database_thinks_of_a_statement_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    sql.execute("SET statement_timeout TO 1", [])
    error = _error_of("SELECT pg_sleep(1)")
    rendering.translate(error)
    (record,) = caplog.records

    assert record.exc_info and record.exc_info[1] is error


def test_a_job_is_done_again_on_a_new_connection() -> None:
    runs: list[int] = []

    def job() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise OperationalError("the server closed the connection unexpectedly")

    outages.try_twice(LOG, job)
    assert len(runs) == 2


def test_a_task_leaves_its_lane_to_the_relay_while_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*args: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(runner, "take_turn", away)
    tasks.run_lane("course:x")
    (record,) = caplog.records

    assert record.getMessage() == "The database is away; the relay will see to it."
    assert not record.exc_info
    assert record.reason == "OperationalError: connection refused"  # type: ignore[attr-defined]


def test_a_task_that_fails_otherwise_says_all_of_it() -> None:
    def fails() -> None:
        raise DataError("nobody thought of it")

    with pytest.raises(DataError):
        outages.try_twice(LOG, fails)


@pytest.mark.parametrize(("error", "has_traceback"), [(BrokerAway("refused"), False), (KeyError("x"), True)])
def test_a_hint_that_cannot_be_sent_is_a_line(
    error: Exception, has_traceback: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*args: Any) -> None:
        raise error

    monkeypatch.setattr(hints, "_publish", fails)
    monkeypatch.setattr(hints, "_closed_until", 0.0)
    hints.publish(hints.RUN_LANE, ["course:x"], queue=hints.QUEUE)
    (record,) = caplog.records

    assert bool(record.exc_info) == has_traceback
    assert hasattr(record, "reason") != has_traceback
