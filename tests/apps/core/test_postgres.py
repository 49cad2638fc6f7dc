"""Whether a kept connection still lives, and how it reads times."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, connection, connections

from tests.support.threads import Running


@pytest.fixture
def pid() -> Iterator[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        yield cursor.fetchone()[0]
    connection.close()


def _elsewhere(statement: str, pid: int) -> str:
    def ask() -> str:
        with connections["default"].cursor() as cursor:
            cursor.execute(statement, [pid])
            return str(cursor.fetchone()[0])

    return Running(ask).result()


@pytest.mark.django_db(transaction=True)
def test_an_idle_connection_is_usable_and_is_not_asked(pid: int) -> None:
    assert connection.is_usable()

    asked_last = _elsewhere("SELECT query FROM pg_stat_activity WHERE pid = %s", pid)
    assert "pg_backend_pid" in asked_last


@pytest.mark.django_db(transaction=True)
def test_one_that_the_server_ended_is_not(pid: int) -> None:
    _elsewhere("SELECT pg_terminate_backend(%s, 5000)", pid)

    assert not connection.is_usable()


@pytest.mark.django_db(transaction=True)
def test_after_an_error_the_server_is_asked(pid: int) -> None:
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT nonsense")
    assert connection.is_usable()

    assert _elsewhere("SELECT query FROM pg_stat_activity WHERE pid = %s", pid) == "SELECT 1"


@pytest.mark.django_db(transaction=True)
def test_a_closed_one_is_not(pid: int) -> None:
    assert connection.connection is not None
    connection.connection.close()

    assert not connection.is_usable()


@pytest.mark.django_db(transaction=True)
def test_the_server_ends_a_transaction_in_which_nothing_is_asked_for_half_a_minute() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("30s",)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 31, 12, 0, 0, 0, UTC),
        datetime(2026, 1, 31, 12, 0, 0, 500_000, UTC),
        datetime(2026, 1, 31, 12, 0, 0, 123_456, UTC),
        datetime(2026, 1, 31, 12, 0, 0, 1, UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
        None,
    ],
)
@pytest.mark.django_db
def test_times_come_back_as_they_were(moment: datetime | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::timestamptz, ARRAY[%s::timestamptz]", [moment, moment])
        alone, (in_list,) = cursor.fetchone()

    assert alone == in_list == moment
    assert moment is None or alone.tzinfo is in_list.tzinfo is UTC


@pytest.mark.django_db
def test_a_time_with_another_offset_is_the_same_moment() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE '+05:30'")
        cursor.execute("SELECT timestamptz '2026-01-31 12:00:00Z'")
        (found,) = cursor.fetchone()

    assert found == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert abs(found.utcoffset()) == timedelta(hours=5, minutes=30)
