"""Django's PostgreSQL backend, with less work for each statement and each request."""

import select
from typing import Any

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """One connection."""

    def is_usable(self) -> bool:
        """
        Say whether a kept connection still lives, which Django asks before each request (see `CONN_HEALTH_CHECKS`).

        Whoever closes a connection, or dies, says so, and there is something to be read where nothing was asked for.
        Only then is ``SELECT 1`` sent, which would cost every request a round trip. A connection that was lost without
        a word is found by neither before TCP gives up.
        """
        if self.connection is None or self.connection.closed:
            return False
        if self.errors_occurred:
            return bool(super().is_usable())
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0) or bool(super().is_usable())

    def kept_cursor(self) -> Any:
        """
        Give the one cursor that stays open as long as the connection; its result is gone with the next statement.

        Making a cursor, and finding out anew how each type is written and read, takes as long as a small statement.
        """
        self.validate_thread_sharing()
        self.close_if_health_check_failed()
        self.ensure_connection()
        self.validate_no_broken_transaction()
        if self._kept is None or self._kept.connection is not self.connection:
            self._kept = self.create_cursor()
        return self._kept

    _kept: Any = None
