"""Scripts that Redis runs: what is called while it works goes with the next round trip, all of it at once."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import NoScriptError

from broadcast.link import Link

_CALLS_AT_ONCE: Final = 64
_BYTES_AT_ONCE: Final = 8 * 1024 * 1024


class Call:
    """One call of a script: its keys, its arguments, and (later) its reply."""

    __slots__ = ("arguments", "keys", "reply", "size")

    def __init__(self, keys: Sequence[str], arguments: Sequence[Any]) -> None:
        self.keys = keys
        self.arguments = arguments
        self.size = sum(len(argument) for argument in arguments if isinstance(argument, bytes))
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class PipelinedScript:
    """
    A script that is called by many at once.

    Calls are run in the order in which they were made, each by itself: one that fails fails alone, and what Redis
    does in between is not held up. When Redis is away, all that wait are told at once.
    """

    def __init__(self, link: Link, source: str) -> None:
        self._link = link
        self._source = source
        self._sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        self._waiting: list[Call] = []
        self._sending: asyncio.Task[None] | None = None

    async def __call__(self, *, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """
        Call the script.

        Raises:
            RedisError: Redis is away, or the script failed.
        """
        call = Call(keys, args)
        self._waiting.append(call)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())
        return await call.reply

    async def _send_all(self) -> None:
        while self._waiting:
            calls = self._take()
            try:
                replies = await self._exchange(calls)
            except Exception as problem:
                calls += self._waiting
                self._waiting = []
                replies = [problem] * len(calls)
            for call, reply in zip(calls, replies, strict=True):
                _settle(call, reply)

    def _take(self) -> list[Call]:
        size = count = 0
        for call in self._waiting[:_CALLS_AT_ONCE]:
            size += call.size
            if count and size > _BYTES_AT_ONCE:
                break
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    async def _exchange(self, calls: Sequence[Call]) -> list[Any]:
        replies = await self._evaluate(calls)
        unknown = [number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            await self._link.execute([["SCRIPT", "LOAD", self._source]])
            for number, reply in zip(unknown, await self._evaluate([calls[n] for n in unknown]), strict=True):
                replies[number] = reply
        return replies

    async def _evaluate(self, calls: Sequence[Call]) -> list[Any]:
        sha = self._sha
        return await self._link.execute(
            [["EVALSHA", sha, len(call.keys), *call.keys, *call.arguments] for call in calls]
        )


def _settle(call: Call, reply: Any) -> None:
    if call.reply.done():
        return
    if isinstance(reply, Exception):
        call.reply.set_exception(reply)
    else:
        call.reply.set_result(reply)
