"""Django's PostgreSQL backend, with a cheaper look at whether a kept connection still lives."""

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """
    See `CONN_HEALTH_CHECKS`: Django asks this of a kept connection before each request.

    Whoever closes a connection, or dies, says so, and there is something to be read where nothing was asked for. Only
    then is ``SELECT 1`` sent, which would cost every request a round trip. A connection that was lost without a word is
    found by neither before TCP gives up.
    """

    def is_usable(self) -> bool:
        if self.connection is None or self.connection.closed:
            return False
        if self.errors_occurred:
            return bool(super().is_usable())
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0) or bool(super().is_usable())
