"""The thread that delivers events as soon as they are committed; one in each process that emits."""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection

from django import db

from apps.core import sql
from apps.outbox import bridge as bridges
from apps.outbox import delivery

log = logging.getLogger(__name__)

_TOPICS_AT_ONCE = 200
_PAUSE_AFTER_FAILURE_SECONDS = 1.0


class Drainer:
    """
    Delivers the topics it is woken for.

    While the broadcast service is away it forgets them and pauses (a circuit breaker): the relay delivers what is left.
    """

    def __init__(self, bridge: Callable[[], bridges.Bridge] = bridges.of_this_thread) -> None:
        self._bridge = bridge
        self._waiting: set[str] = set()
        self._changed = threading.Condition()
        self._closed_until = 0.0

    def wake(self, topics: Collection[str]) -> None:
        """Have topics delivered soon, by the drainer's own thread."""
        with self._changed:
            self._waiting.update(topics)
            self._changed.notify()

    def run(self) -> None:
        """Deliver for ever."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                topics = {self._waiting.pop() for _ in range(min(len(self._waiting), _TOPICS_AT_ONCE))}
            if time.monotonic() >= self._closed_until:
                self.wake(self._deliver(topics))

    def _deliver(self, topics: Collection[str]) -> set[str]:
        try:
            return self._deliver_once_or_twice(topics)
        except bridges.BridgeError as error:
            log.warning("The broadcast service is away.", extra={"reason": str(error)})
        except Exception:
            log.exception("Events could not be delivered.")
            db.connection.close()
        self._closed_until = time.monotonic() + _PAUSE_AFTER_FAILURE_SECONDS
        return set()

    def _deliver_once_or_twice(self, topics: Collection[str]) -> set[str]:
        """Deliver; on a new connection, should the old one have been broken since it was last used."""
        try:
            _connect()
            return delivery.deliver(topics, self._bridge())
        except db.Error:
            db.connection.close()
            _connect()
            return delivery.deliver(topics, self._bridge())


def _connect() -> None:
    """
    Make sure of a connection that commits without waiting for the disk.

    A crash of the database may then take back how far a topic was delivered, and it is delivered again from there.
    """
    if db.connection.connection is None:
        sql.execute("SET synchronous_commit TO off", [])


Waker = Callable[[Collection[str]], None]

_drainer: Drainer | None = None
_owner = 0
_starting = threading.Lock()
_instead: Waker | None = None


def wake(topics: Collection[str]) -> None:
    """Have topics delivered by this process' drainer, which is started when it is first needed."""
    (_instead or _of_this_process().wake)(topics)


def use(waker: Waker | None) -> None:
    """Wake another from now on; None: the thread again. For processes that must not deliver by themselves, as tests."""
    global _instead
    _instead = waker


def _of_this_process() -> Drainer:
    global _drainer, _owner
    if _drainer is None or _owner != os.getpid():
        with _starting:
            if _drainer is None or _owner != os.getpid():
                # A forked child has its parent's drainer but not its thread.
                drainer = Drainer()
                threading.Thread(target=drainer.run, name="drainer", daemon=True).start()
                _drainer, _owner = drainer, os.getpid()
    return _drainer
