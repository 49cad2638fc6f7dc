"""
Waiting for operations to end, without anyone polling.

Whoever ends an operation rings a bell in Redis; each API process has one subscription, shared by all who wait there.
Waiting is a comfort: when Redis is away, or too many wait already, the answer is simply given at once.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import redis
from django.conf import settings

from apps.core import metrics
from apps.core.redis import client

log = logging.getLogger(__name__)

CHANNEL = "coursehub:operations-ended"

_SILENCE_SECONDS = 1.0


def announce(operation_ids: Sequence[UUID]) -> None:
    """Ring for operations that ended; never raises."""
    try:
        client().publish(CHANNEL, b"".join(id_.bytes for id_ in operation_ids))
    except redis.RedisError:
        metrics.FAILED_OPEN.labels("waiting").inc()


class Waiters:
    """Those who wait in this process, and the thread that listens for them."""

    def __init__(self) -> None:
        self._events: dict[UUID, set[threading.Event]] = defaultdict(set)
        self._lock = threading.Lock()
        self._listening = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def waiting_for(self, operation_id: UUID) -> Iterator[threading.Event | None]:
        """
        Register for an operation's end; gives the event that will be set, or None when one cannot wait now.

        Look at the operation after entering: what ended before rings no more.
        """
        event = self._enter(operation_id)
        try:
            yield event
        finally:
            if event:
                self._leave(operation_id, event)

    def _enter(self, operation_id: UUID) -> threading.Event | None:
        self._start()
        if not self._listening.wait(0.5):
            return None
        event = threading.Event()
        with self._lock:
            # Asked again under the lock: who is registered while the bell can ring is let go when it no longer can.
            if not self._listening.is_set() or sum(map(len, self._events.values())) >= settings.WAITERS_MAX:
                return None
            self._events[operation_id].add(event)
        return event

    def _leave(self, operation_id: UUID, event: threading.Event) -> None:
        with self._lock:
            self._events[operation_id].discard(event)
            if not self._events[operation_id]:
                del self._events[operation_id]

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._listen, name="waiters", daemon=True)
                self._thread.start()

    def _listen(self) -> None:
        """Listen until Redis goes away, or hangs; then let everyone go: nobody waits for a bell that cannot ring."""
        try:
            with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=0.2) as listener:
                subscription = listener.pubsub(ignore_subscribe_messages=False)
                subscription.subscribe(CHANNEL)
                for message in _messages(subscription):
                    self._hear(message)
        except redis.RedisError:
            log.warning("Nobody can wait for operations while Redis is away.")
        finally:
            self._listening.clear()
            self._ring_all()

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._listening.set()
        data = message["data"]
        if message["type"] == "message" and isinstance(data, bytes):
            for start in range(0, len(data), 16):
                self._ring(UUID(bytes=data[start : start + 16]))

    def _ring(self, operation_id: UUID) -> None:
        with self._lock:
            for event in self._events.get(operation_id, ()):
                event.set()

    def _ring_all(self) -> None:
        with self._lock:
            for events in self._events.values():
                for event in events:
                    event.set()


def _messages(subscription: redis.client.PubSub) -> Iterator[dict[str, Any]]:
    """
    Give what is heard.

    Raises:
        redis.RedisError: Redis is away, or was silent for a second and did not say a second later that it is there.
    """
    asked = False
    while True:
        message = subscription.get_message(timeout=_SILENCE_SECONDS)
        if message:
            yield message
        elif asked:
            raise redis.TimeoutError
        else:
            subscription.ping()
        asked = not message


waiters = Waiters()
