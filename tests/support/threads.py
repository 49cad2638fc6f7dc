"""Doing things at the same time, each thread with a database connection of its own."""

import threading
import time
from collections.abc import Callable
from typing import Any

from django.db import connection

PATIENCE_SECONDS = 20


class Running:
    """A job in a thread of its own, begun at once."""

    def __init__(self, job: Callable[[], Any]) -> None:
        self._job = job
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._job()
        except BaseException as error:  # it is raised where the result is asked for
            self._error = error
        finally:
            connection.close()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Any:
        """Wait for the end; returns what the job returned, or raises what it raised."""
        self._thread.join(PATIENCE_SECONDS)
        assert self.ended, f"{self._job} does not end"
        if self._error:
            raise self._error
        return self._result


def together(*jobs: Callable[[], Any]) -> list[Any]:
    """Run jobs at the same time, all let go at one moment; returns their results in order."""
    start = threading.Barrier(len(jobs))

    def after_the_others(job: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            connection.ensure_connection()
            start.wait(PATIENCE_SECONDS)
            return job()

        return run

    running = [Running(after_the_others(job)) for job in jobs]
    return [one.result() for one in running]


def until(condition: Callable[[], object], what: str = "it") -> None:
    """Wait until something is so that no event tells of, such as another connection's waiting."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} does not come to be"
        time.sleep(0.002)


def until_someone_waits_for_a_lock(number: int = 1) -> None:
    """Wait until so many other connections to the database server wait for a lock."""
    until(lambda: _number_waiting_for_a_lock() >= number, f"{number} waiting for a lock")


def _number_waiting_for_a_lock() -> int:
    with connection.cursor() as cursor:
        # Not pg_stat_activity: within a transaction it stays as it was when it was first looked at.
        cursor.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
        row = cursor.fetchone()
    return row[0] if row else 0
