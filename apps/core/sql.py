"""
Plain SQL, where a save passes by.

Django builds a statement anew each time, which costs more than PostgreSQL takes to run it. What every single save
asks is therefore asked in SQL; everything else uses the ORM.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection


def rows(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a query and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


def execute(sql: str, values: Sequence[Any]) -> None:
    """Run a statement that returns nothing."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def columns(table: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Turn rows into columns, as ``unnest`` wants them."""
    return [list(column) for column in zip(*table, strict=True)]
