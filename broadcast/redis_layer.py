"""
channels-redis' pub/sub layer over connections of our own.

Names, encoding, memberships and queues are the library's, so its own layer hears ours and is heard by it. What
differs is how bytes go to and come from Redis (`broadcast.link`), that many messages and memberships go in one round
trip, that joining ends when Redis has confirmed it, that a lost connection shows (`receive` raises), and that what a
process sent to groups itself is dropped before anybody reads it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from channels_redis.pubsub import (  # type: ignore[import-untyped]
    RedisPubSubChannelLayer,
    RedisPubSubLoopLayer,
    RedisSingleShardConnection,
)
from channels_redis.utils import create_pool  # type: ignore[import-untyped]
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from broadcast.link import Link, Wire

Message = dict[str, Any]

_MESSAGE: Final = b"message"
_SUBSCRIBED: Final = b"subscribe"
_HEAD_BYTES: Final = 64
"""In so much of a message its origin is found, if it is the second thing in there after a short type."""
_LOST: Final = None
"""In a channel's queue: the connection is gone, and messages with it."""


class Shard(RedisSingleShardConnection):  # type: ignore[misc]
    """
    The connections to one Redis: one that speaks, one that hears.

    Messages that begin with ``origin`` are not heard; None: all are.
    """

    def __init__(self, host: dict[str, Any], layer: Any, origin: bytes | None) -> None:
        super().__init__(host, layer)
        self._origin = origin
        self._timeout_seconds: float = host["socket_timeout"]
        self._pool = create_pool(host)
        self._speaking = Link(self._pool, timeout_seconds=self._timeout_seconds)
        self._hearing: Wire | None = None
        self._unconfirmed = 0
        self._confirmed: asyncio.Future[None] | None = None

    async def publish(self, channel: str, message: bytes) -> None:
        """Send one message."""
        await self.publish_all([(channel, message)])

    async def publish_all(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """
        Send messages in order.

        Raises:
            RedisError: Redis is away, or refuses one of them.
        """
        for reply in await self._speaking.execute([["PUBLISH", channel, message] for channel, message in messages]):
            if isinstance(reply, Exception):
                raise reply

    async def subscribe(self, channel: str) -> None:
        """Hear a channel."""
        await self.subscribe_all([channel])

    async def subscribe_all(self, channels: Sequence[str]) -> None:
        """
        Hear channels: once this is over, whatever is sent.

        Raises:
            RedisError: Redis is away.
            TimeoutError: it does not answer.
        """
        async with self._lock:
            new = [channel for channel in dict.fromkeys(channels) if channel not in self._subscribed_to]
            if new:
                wire = await self._heard()
                self._unconfirmed, self._confirmed = len(new), asyncio.get_running_loop().create_future()
                wire.tell([["SUBSCRIBE", *new]])
                async with asyncio.timeout(self._timeout_seconds):
                    await self._confirmed
                self._subscribed_to.update(new)

    async def unsubscribe(self, channel: str) -> None:
        """Hear a channel no longer."""
        await self.unsubscribe_all([channel])

    async def unsubscribe_all(self, channels: Sequence[str]) -> None:
        """Hear channels no longer."""
        async with self._lock:
            gone = [channel for channel in dict.fromkeys(channels) if channel in self._subscribed_to]
            self._subscribed_to.difference_update(gone)
            if gone and self._hearing is not None and self._hearing.is_open:
                self._hearing.tell([["UNSUBSCRIBE", *gone]])

    async def flush(self) -> None:
        """Close both connections."""
        async with self._lock:
            hearing, self._hearing = self._hearing, None
            if hearing is not None:
                hearing.close()
            self._speaking.close()
            self._subscribed_to.clear()

    async def _heard(self) -> Wire:
        if self._hearing is None:
            wire = Wire(timeout_seconds=self._timeout_seconds, on_push=self._hear, on_lost=self._lose)
            await wire.open(self._pool)
            self._hearing = wire
        if not self._hearing.is_open:
            raise RedisConnectionError("the connection that hears is lost")
        return self._hearing

    def _hear(self, pushed: list[Any]) -> None:
        if pushed[0] == _MESSAGE:
            if self._origin is None or pushed[2].find(self._origin, 0, _HEAD_BYTES) < 0:
                self._receive_message({"channel": pushed[1], "data": pushed[2]})
        elif pushed[0] == _SUBSCRIBED:
            self._unconfirmed -= 1
            if not self._unconfirmed and self._confirmed is not None and not self._confirmed.done():
                self._confirmed.set_result(None)

    def _lose(self) -> None:
        if self._confirmed is not None and not self._confirmed.done():
            self._confirmed.set_exception(RedisConnectionError("lost while subscribing"))
        if self._hearing is not None:
            for queue in self.channel_layer.channels.values():
                queue.put_nowait(_LOST)


class PipeliningLayer(RedisPubSubChannelLayer):  # type: ignore[misc]
    """
    The library's layer on one Redis, with methods for many at once.

    A layer whose connection is lost stays so until `flush`: what it would have heard meanwhile is gone, and whoever
    uses it has to know. ``origin``: see `Shard`.
    """

    def __init__(self, host: dict[str, Any], *, prefix: str, origin: str | None) -> None:
        super().__init__(hosts=[host], prefix=prefix)
        self._origin = None if origin is None else origin.encode()

    def deserialize(self, message: bytes | None) -> Message:
        """
        Read what came.

        Raises:
            ConnectionError: the connection was lost (redis-py's).
        """
        if message is _LOST:
            raise RedisConnectionError("the connection to the channel layer is lost")
        read: Message = super().deserialize(message)
        return read

    async def receive_all(self, channel: str) -> list[Message]:
        """Wait for the next message on one of our channels, and take all that have come."""
        queue = self._get_layer().channels[channel]
        come = [await queue.get()]
        while not queue.empty():
            come.append(queue.get_nowait())
        return [self.deserialize(each) for each in come]

    async def group_add_all(self, groups: Sequence[str], channel: str) -> None:
        """Let a channel hear many groups."""
        layer = self._get_layer()
        names = [layer._get_group_channel_name(group) for group in groups]
        for name in names:
            layer.groups.setdefault(name, set()).add(channel)
        await self._shard.subscribe_all(names)

    async def group_discard_all(self, groups: Sequence[str], channel: str) -> None:
        """Let a channel hear many groups no longer."""
        layer = self._get_layer()
        silent = []
        for name in map(layer._get_group_channel_name, groups):
            members = layer.groups.get(name, set())
            members.discard(channel)
            if not members:
                layer.groups.pop(name, None)
                silent.append(name)
        await self._shard.unsubscribe_all(silent)

    async def group_send_all(self, messages: Sequence[tuple[str, Message]]) -> None:
        """Send each message to all channels of its group, in order."""
        name, serialize = self._get_layer()._get_group_channel_name, self.serialize
        await self._shard.publish_all([(name(group), serialize(message)) for group, message in messages])

    @property
    def _shard(self) -> Shard:
        (shard,) = self._get_layer()._shards
        assert isinstance(shard, Shard)
        return shard

    def _get_layer(self) -> RedisPubSubLoopLayer:
        layer = super()._get_layer()
        shards = layer._shards
        layer._shards = [each if isinstance(each, Shard) else Shard(each.host, layer, self._origin) for each in shards]
        return layer


def redis_layer(url: str, *, timeout_seconds: float, origin: str | None = None) -> PipeliningLayer:
    """
    Make a channel layer on one Redis.

    ``origin``: what this process says as the second thing of its messages to groups, after their type; it never hears
    them itself. A process alone reads nothing then, and Redis sends to the others as before.

    The pub/sub one: memberships live in the connection and vanish with the process, a message takes one round trip
    instead of five, and nothing has a capacity over which messages are dropped in silence.
    """
    host = {
        "address": url,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(NoBackoff(), 1),
    }
    return PipeliningLayer(host, prefix="coursehub", origin=origin)
