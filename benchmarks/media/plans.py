"""How PostgreSQL answers a question: the plans of the statements behind a request."""

import time
from typing import Any

from benchmarks.media.world import World

_LONGEST = 2
"""So many statements of a request are explained."""


def of(world: World, path: str) -> str:
    """Explain the slowest statements of a GET: the SQL's first words, and what EXPLAIN ANALYZE says."""
    from django.db import connection
    from django.test import Client

    asked: list[tuple[float, str, Any]] = []
    connection.ensure_connection()
    usual = connection.connection.cursor_factory
    connection.connection.cursor_factory = _remembering(usual, asked)
    try:
        client = Client(headers={"authorization": f"Bearer {world.api.token}"}, SERVER_NAME="localhost")
        assert client.get(f"/api/v1/{path}").status_code < 500
    finally:
        connection.connection.cursor_factory = usual
    asked.sort(key=lambda one: one[0], reverse=True)
    return "\n".join(_explained(statement, values) for _, statement, values in asked[:_LONGEST])


def _remembering(usual: Any, asked: list[tuple[float, str, Any]]) -> Any:
    """Make a cursor class that keeps what was selected, and how long it took."""

    class Remembering(usual):  # type: ignore[misc]
        def execute(self, statement: Any, values: Any = None, **more: Any) -> Any:
            began = time.perf_counter()
            try:
                return super().execute(statement, values, **more)
            finally:
                if str(statement).lstrip().upper().startswith(("SELECT", "WITH")):
                    asked.append((time.perf_counter() - began, str(statement), values))

    return Remembering


def _explained(statement: str, values: Any) -> str:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, COSTS) {statement}", values)
        lines = [str(line) for (line,) in cursor.fetchall()]
    said = " ".join(statement.split())
    return "\n".join([said if len(said) < 400 else said[:400] + " …", *(f"    {line}" for line in lines)])
