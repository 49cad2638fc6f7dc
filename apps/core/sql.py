"""
Plain SQL, where a save passes by.

Django builds a statement anew each time, which costs more than PostgreSQL takes to run it. What every single save
asks is therefore asked in SQL; everything else uses the ORM.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model

Row = TypeVar("Row", bound=Model)
Result = TypeVar("Result")


def rows(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a query and return its rows."""
    return _run(sql, values, lambda cursor: list(cursor.fetchall()))


def rows_planned_anew(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """
    Run a query that is planned for these very values, and return its rows.

    What is searched for decides how: a plan that is kept for all values would read a whole library for a rare word.
    """
    with connection.cursor() as cursor:
        cursor.cursor.execute(sql, values, prepare=False)
        return list(cursor.fetchall())


def execute(sql: str, values: Sequence[Any]) -> None:
    """Run a statement that returns nothing."""
    _run(sql, values, lambda _: None)


def instances(model: type[Row], sql: str, values: Sequence[Any]) -> list[Row]:
    """
    Run a query and return its rows as objects of a model; columns that are no fields become attributes.

    What `Manager.raw` does, without working out for each query again which column is which.
    """
    return _run(sql, values, lambda cursor: _objects(model, cursor))


def _run(sql: str, values: Sequence[Any], take: Callable[[Any], Result]) -> Result:
    wrapper: Any = connection
    if wrapper.queries_logged:
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return take(cursor)
    cursor = wrapper.kept_cursor()
    with wrapper.wrap_database_errors:
        cursor.execute(sql, values)
        return take(cursor)


def _objects(model: type[Row], cursor: Any) -> list[Row]:
    make = _maker(model, tuple(column.name for column in cursor.description))
    return [make(row) for row in cursor.fetchall()]


@cache
def _maker(model: type[Row], names: tuple[str, ...]) -> Callable[[Sequence[Any]], Row]:
    """Work out how an object is made of a row with columns of these names."""
    places = {name: place for place, name in enumerate(names)}
    fields = [field for field in model._meta.concrete_fields if field.column in places]
    attributes = [field.attname for field in fields]
    readers = [(places.pop(str(field.column)), field.get_db_converters(connection)) for field in fields]

    def make(row: Sequence[Any]) -> Row:
        made = model.from_db("default", attributes, [_read(row[place], converters) for place, converters in readers])
        for name, place in places.items():
            setattr(made, name, row[place])
        return made

    return make


def _read(value: Any, converters: Sequence[Any]) -> Any:
    for convert in converters:
        value = convert(value, None, connection)
    return value


def columns(table: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """
    Turn rows into columns, as ``unnest`` wants them.

    Lists are passed as ``%b``, in binary: to quote a JSON text in a list, for ``%s``, takes psycopg 8 µs; this, 0.2.
    """
    return [list(column) for column in zip(*table, strict=True)]
