"""
A connection to Redis without redis-py's way through it: commands go out at once, replies come back in order.

redis-py still makes each connection (addresses, TLS, authentication, the database). From then on its bytes come here,
to hiredis: redis-py takes a task, several timeouts and a lock for every reply, which is more than all the rest that
is done for an event.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis
from redis._parsers.base import BaseParser
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError

Command = Sequence[str | bytes | int | float]
Replies = list[Any]
"""One for each command; an error reply is an exception in here."""

_ATTEMPTS: Final = 2
_MISSING: Final = object()


class Pending:
    """Commands that were sent, and what has come of them; late at ``deadline`` (seconds of the loop's clock)."""

    __slots__ = ("count", "deadline", "done", "replies")

    def __init__(self, count: int, done: "asyncio.Future[Replies]", deadline: float) -> None:
        self.count = count
        self.done = done
        self.deadline = deadline
        self.replies: Replies = []


class Wire(asyncio.Protocol):
    """
    One open connection. ``on_push`` gets what nothing was sent for: the messages of subscriptions.

    ``on_lost`` is called once, when it is gone.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float,
        on_push: Callable[[list[Any]], None] | None = None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.is_open = False
        self._timeout_seconds = timeout_seconds
        self._on_push = on_push
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._pending: deque[Pending] = deque()
        self._parser = hiredis.Reader(
            protocolError=InvalidResponse, replyError=BaseParser.parse_error, notEnoughData=_MISSING
        )
        self._timer: asyncio.TimerHandle | None = None
        self._late = False
        self._transport: Any = None
        self._connection: Any = None

    async def open(self, pool: ConnectionPool) -> None:
        """
        Connect as a pool would.

        Raises:
            RedisError: Redis is away, or refuses.
        """
        connection: Any = pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()
        # Held, because it would close the connection when it is forgotten.
        self._connection = connection
        self._transport = connection._writer.transport
        if self._transport.is_closing():
            connection._close()
            raise RedisConnectionError("the connection was closed at once")
        self._transport.set_protocol(self)
        self.is_open = True

    def send(self, commands: Sequence[Command]) -> "asyncio.Future[Replies]":
        """
        Send commands, at least one, in one go; the future gets their replies.

        It fails with a ``ConnectionError`` or ``TimeoutError`` of redis-py; whether they were carried out is not known
        then.
        """
        done: asyncio.Future[Replies] = self._loop.create_future()
        self.tell(commands)
        deadline = self._loop.time() + self._timeout_seconds
        self._pending.append(Pending(len(commands), done, deadline))
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._look)
        return done

    def tell(self, commands: Sequence[Command]) -> None:
        """Send commands whose replies are pushed, or do not matter."""
        pack = hiredis.pack_command
        packed = [pack(tuple(command)) for command in commands]  # type: ignore[arg-type]
        self._transport.write(packed[0] if len(packed) == 1 else b"".join(packed))

    def close(self) -> None:
        """Close at once; what waits for replies fails."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what Redis says."""
        parser, pending = self._parser, self._pending
        try:
            parser.feed(data)
            while (reply := parser.gets()) is not _MISSING:
                if not pending:
                    self._push(reply)
                    continue
                first = pending[0]
                first.replies.append(reply)
                if len(first.replies) == first.count:
                    pending.popleft()
                    if not first.done.done():
                        first.done.set_result(first.replies)
        except InvalidResponse:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all that wait."""
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
        problem = RedisTimeoutError("no reply in time") if self._late else RedisConnectionError(f"lost: {exc}")
        while self._pending:
            waiting = self._pending.popleft().done
            if not waiting.done():
                waiting.set_exception(problem)
        self._connection._reader = self._connection._writer = None
        self._on_lost()

    def _push(self, reply: Any) -> None:
        if self._on_push is not None and isinstance(reply, list):
            self._on_push(reply)

    def _look(self) -> None:
        self._timer = None
        if self._pending:
            deadline = self._pending[0].deadline
            if deadline > self._loop.time():
                self._timer = self._loop.call_at(deadline, self._look)
            else:
                self._late = True
                self.close()


class Link:
    """Commands to one Redis, over a connection that is made when it is needed, and again when it was lost."""

    def __init__(self, pool: ConnectionPool, *, timeout_seconds: float) -> None:
        self._pool = pool
        self._timeout_seconds = timeout_seconds
        self._wire: Wire | None = None
        self._opening: asyncio.Future[Wire] | None = None
        self._times_closed = 0

    async def execute(self, commands: Sequence[Command]) -> Replies:
        """
        Have commands carried out in order, with no others of this link between them, and return their replies.

        A connection that is lost meanwhile is made anew once, and everything sent again.

        Raises:
            ConnectionError, TimeoutError: those of redis-py; what was carried out is not known.
        """
        if not commands:
            return []
        for attempt in range(_ATTEMPTS):
            wire = self._wire
            if wire is None or not wire.is_open:
                wire = await self._open()
            try:
                return await wire.send(commands)
            except RedisConnectionError:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError

    def close(self) -> None:
        """Close the connection; using the link again makes another."""
        self._times_closed += 1
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    async def _open(self) -> Wire:
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._connect(self._times_closed))
            self._opening.add_done_callback(self._on_opened)
        return await asyncio.shield(self._opening)

    async def _connect(self, times_closed: int) -> Wire:
        wire = Wire(timeout_seconds=self._timeout_seconds)
        await wire.open(self._pool)
        if times_closed != self._times_closed:
            wire.close()
            raise RedisConnectionError("closed while it was opened")
        self._wire = wire
        return wire

    def _on_opened(self, opening: "asyncio.Future[Wire]") -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # whoever waits gets it; nobody may
