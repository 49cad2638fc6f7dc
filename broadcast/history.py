"""
The history, in Redis: the newest events of each topic, from which any process answers any ``since``.

Every history has an *epoch*: when it began, and the run of the Redis server that holds it. A Redis that was flushed,
restarted or failed over may have lost what it had accepted, so it begins a new epoch, under new keys; whoever finds
another epoch than the one it knew tells its clients to resync. Nothing that is read here can mix two epochs.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import chain
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from broadcast import revocations
from broadcast.link import Link
from broadcast.parcel import Parcel
from broadcast.resume import Bodies, Retained
from broadcast.revocations import Revocation
from broadcast.scripts import PipelinedScript

_EPOCH_KEY: Final = "coursehub:epoch"
_CONTROL_KEY: Final = "coursehub:control"
_HEAD_SECONDS: Final = 7 * 86400
_CLOCK_SKEW_MS: Final = 2000
_MGET_CHUNK: Final = 500
_MAX_CONNECTIONS: Final = 32
_ATTEMPTS: Final = 4
_REPLICA: Final = "slave"
"""The role that INFO gives a replica."""

Unavailable = RedisError
"""What every method raises when Redis is away or too slow; also a connection error or timeout of its client."""


class Unsettled(RedisError):
    """The history begins anew again and again: Redis is being flushed or failed over right now."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A topic's events were posted beyond the one expected next."""

    topic: str
    expected: int


class Gaps(Exception):
    """Nothing of a batch was taken, because events are missing before it."""

    def __init__(self, gaps: Sequence[Gap]) -> None:
        super().__init__(f"{len(gaps)} topics have gaps")
        self.gaps = gaps


class History:
    """
    The newest events of each topic: at most ``length``, at most ``size_bytes``, for ``seconds`` after the newest.

    ``on_new_epoch`` is called, at once and before the answer that showed it is used, when the history turns out to be
    another one than before.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        length: int,
        seconds: int,
        size_bytes: int = 4 * 1024 * 1024,
        on_new_epoch: Callable[[], None] = lambda: None,
    ) -> None:
        self._redis = redis
        self._bounds = (length, size_bytes, seconds, _HEAD_SECONDS)
        self._on_new_epoch = on_new_epoch
        self._epoch = ""
        pool = redis.connection_pool
        # One for each, so that a replay of megabytes holds up no event.
        self._links = [Link(pool, timeout_seconds=pool.connection_kwargs["socket_timeout"]) for _ in range(2)]
        appending, reading = self._links
        self._append = PipelinedScript(appending, _script("append"))
        self._read = PipelinedScript(reading, _script("read"))
        self._begin = redis.register_script(_script("begin"))

    @property
    def epoch_ms(self) -> int:
        """When this history began."""
        return int(self._epoch.partition("-")[0] or 0)

    async def check(self) -> None:
        """
        Find out whether this is still the history it was, and begin a new one if Redis may have lost it.

        Raises:
            Unavailable: Redis is away, or takes nothing because it has become a replica.
        """
        stored, run_id = await self._identity()
        if stored is None or stored.partition("-")[2] != run_id:
            await self._begin_epoch(stored or "", run_id)
        elif stored != self._epoch:
            self._adopt(stored)

    async def append(self, parcels: Sequence[Parcel], *, withdrawn: Sequence[Revocation] = (), now_ms: int) -> int:
        """
        Take durable events and revocations, all or nothing; returns how many events were there already.

        Raises:
            Gaps: an event is not the one its topic expects next.
            Unavailable: Redis is; whether anything was taken is not known, and taking it again does no harm.
        """
        by_topic: dict[str, list[Parcel]] = {}
        for parcel in parcels:
            by_topic.setdefault(parcel.topic, []).append(parcel)
        names = list(by_topic)
        oldest_ms = max(now_ms - revocations.LIFETIME_MS, 0)
        tail: list[Any] = [*self._bounds, oldest_ms, len(names), len(withdrawn)]
        for of_topic in by_topic.values():
            tail += _runs(of_topic)
        tail += (revocation.encode() for revocation in withdrawn)
        reply = await self._call(self._append, lambda: [_CONTROL_KEY, *self._keys(names)], tail)
        if reply[0] == b"gaps":
            numbers = [int(number) for number in reply[1:]]
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            raise Gaps([Gap(names[number - 1], expected) for number, expected in pairs])
        return int(reply[1])

    async def read(self, topic: str, *, since: int | None, limit: int, limit_bytes: int = 0) -> Retained:
        """
        Read what is kept of a topic.

        Events after ``since`` come only if they are all kept, and at most ``limit`` with at most ``limit_bytes`` (0:
        any number).
        """
        tail = ["" if since is None else since, limit, limit_bytes]
        reply = await self._call(self._read, lambda: self._keys([topic]), tail)
        last = int(reply[1]) if reply[1] else None
        return Retained(self.epoch_ms, last, int(reply[2]), Bodies(reply[4:]), is_trimmed=reply[3] == b"1")

    async def positions(self, names: Sequence[str]) -> dict[str, int]:
        """Look up the newest seq of each topic; those that the history does not know are left out."""
        found: dict[str, int] = {}
        for first in range(0, len(names), _MGET_CHUNK):
            chunk = names[first : first + _MGET_CHUNK]
            found |= await self._positions(chunk)
        return found

    async def revocations_after(self, stream_id: str) -> tuple[str, list[Revocation]]:
        """Read the revocations after an id of their stream ("0" for all), and the id to go on from."""
        entries = await self._redis.xrange(_CONTROL_KEY, min=f"({stream_id}", count=1000)
        if not entries:
            return stream_id, []
        return entries[-1][0].decode(), [revocations.decode(fields[b"r"]) for _, fields in entries]

    async def ping(self) -> None:
        """Raise unless Redis answers."""
        await cast("Awaitable[bool]", self._redis.ping())

    async def close(self) -> None:
        """Close all connections."""
        for link in self._links:
            link.close()
        await self._redis.aclose(close_connection_pool=True)

    def _keys(self, names: Sequence[str]) -> list[str]:
        prefix = f"coursehub:{self._epoch}"
        return [key for topic in names for key in (f"{prefix}:head:{topic}", f"{prefix}:events:{topic}")]

    async def _call(self, script: Any, keys: Callable[[], list[str]], tail: list[Any]) -> list[Any]:
        for _ in range(_ATTEMPTS):
            if self._epoch:
                reply = await script(keys=[_EPOCH_KEY, *keys()], args=[self._epoch, *tail])
                if reply[0] != b"epoch":
                    return cast("list[Any]", reply)
            await self.check()
        raise Unsettled

    async def _positions(self, names: Sequence[str]) -> dict[str, int]:
        for _ in range(_ATTEMPTS):
            epoch, *heads = await self._redis.mget([_EPOCH_KEY, *self._keys(names)[::2]])
            if epoch is not None and epoch.decode() == self._epoch:
                known = zip(names, heads, strict=True)
                return {topic: int(head.partition(b",")[0]) for topic, head in known if head is not None}
            await self.check()
        raise Unsettled

    async def _identity(self) -> tuple[str | None, str]:
        stored = await self._redis.get(_EPOCH_KEY)
        try:
            run_id = (await self._redis.info("server")).get("run_id", "unknown")
            role = (await self._redis.info("replication")).get("role")
        except ResponseError:
            # A managed Redis may not let us ask; a flush still shows.
            run_id, role = "unknown", None
        if role == _REPLICA:
            raise ReadOnlyError("this Redis only follows another one")
        return None if stored is None else stored.decode(), run_id

    async def _begin_epoch(self, stored: str, run_id: str) -> None:
        # Where something was lost, tickets made about now are not to be trusted either: clocks differ a little.
        skew_ms = _CLOCK_SKEW_MS if stored or self._epoch else 0
        epoch = await self._begin(keys=[_EPOCH_KEY], args=[stored, run_id, skew_ms])
        self._adopt(epoch.decode())

    def _adopt(self, epoch: str) -> None:
        known, self._epoch = self._epoch, epoch
        if known and known != epoch:
            self._on_new_epoch()


def connect(url: str, *, timeout_seconds: float) -> Redis:
    """Make a client that gives up soon: one new attempt for a stale connection, no waiting in between."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_MAX_CONNECTIONS,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 1),
    )
    return Redis(connection_pool=pool)


def _runs(parcels: Sequence[Parcel]) -> list[Any]:
    """Write a topic's events as ``append.lua`` reads them: runs without a gap."""
    runs: list[list[Any]] = []
    expected = None
    for parcel in parcels:
        if parcel.seq != expected:
            runs.append([parcel.seq, 0])
        runs[-1].append(parcel.body)
        expected = (parcel.seq or 0) + 1
    for run in runs:
        run[1] = len(run) - 2
    return [len(runs), *chain.from_iterable(runs)]


def _script(name: str) -> str:
    return resources.files("broadcast").joinpath("lua", f"{name}.lua").read_text()
