"""Outages: a part that is away is said in one line, with the reason; what is unexpected keeps its traceback."""

import logging
from collections.abc import Callable

from django.db import Error, InterfaceError, OperationalError, connection

from apps.core import errors

_AWAY = ("08", "53", "57P")
"""How the SQLSTATEs begin by which PostgreSQL says that it goes, or takes no more; without one it did not answer."""


def reason(error: BaseException) -> str | None:
    """Say in one line why a part is away, if that is what an error means; None: it means something else."""
    if isinstance(error, errors.Unavailable) or _is_of_an_absent_database(error):
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


def report(log: logging.Logger, message: str, error: BaseException, **extra: object) -> None:
    """Log a failure as an error: in one line if a part is away, otherwise with its traceback."""
    why = reason(error)
    if why is None:
        log.error(message, exc_info=error, extra=extra)
    else:
        log.error(message, extra={**extra, "reason": why})


def try_twice(log: logging.Logger, job: Callable[[], object]) -> None:
    """Do a job that the relay does as well, so that it may be left while the database is away."""
    try:
        job()
    except (OperationalError, InterfaceError):
        # The connection may have been broken since the last job; asking before each one would cost every save. What was
        # not committed has been rolled back, so it is simply done again.
        connection.close()
        try:
            job()
        except Error as error:
            if reason(error) is None:
                raise
            report(log, "The database is away; the relay will see to it.", error)
            connection.close()


def _is_of_an_absent_database(error: BaseException) -> bool:
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    state = getattr(error.__cause__, "sqlstate", None)
    return state is None or state.startswith(_AWAY)
