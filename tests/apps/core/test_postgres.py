"""Whether a kept connection still lives."""

from collections.abc import Iterator

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
