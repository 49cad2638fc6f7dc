"""
Delivering events as soon as they are committed.

Whoever commits a few events has leased their topics by then, and posts them: nobody has to wake up for it. Everything
else, and what is to be done after the POST, is up to a thread; there is one in each process that emits.
"""

import atexit
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Collection
from functools import partial

from django import db

from apps.core import outages, sql
from apps.outbox import bridge as bridges
from apps.outbox import delivery

log = logging.getLogger(__name__)

_TOPICS_AT_ONCE = 200
_PAUSE_AFTER_FAILURE_SECONDS = 1.0
_LAST_SECONDS = 2.0


class Drainer:
    """
    Delivers the topics it is woken for.

    While the broadcast service is away it forgets them and pauses (a circuit breaker): the relay delivers what is left.
    The first attempt after a pause is its thread's, so that who commits waits for an absent service once at most.
    """

    def __init__(self, bridge: Callable[[], bridges.Bridge] = bridges.of_this_thread) -> None:
        self._bridge = bridge
        self._waiting: set[str] = set()
        self._posted: list[tuple[delivery.Claim, dict[str, int]]] = []
        self._changed = threading.Condition()
        self._closed_until = 0.0
        self._failed = False
        self._idle, self._posting = True, False

    def lease(self) -> uuid.UUID | None:
        """Give a token to lease topics with, for `deliver`; None: their events are the thread's."""
        return uuid.uuid4() if self._has_nothing_to_do() and not self._failed else None

    def deliver(self, claim: delivery.Claim, others: Collection[str]) -> None:
        """
        Post what is claimed, by the calling thread, which must be in no transaction; never raises.

        If there are ``others`` that are not claimed, or something committed before is not posted yet, it is left to the
        thread, which takes all that waits together: an operation's end shall not overtake what led to it.
        """
        with self._changed:
            if not claim.rows or others or not self._has_nothing_to_do():
                self._waiting.update(others)
                self._posted.append((claim, {}))
                self._changed.notify_all()
                return
            self._posting = True
        reached = self._post(claim)
        with self._changed:
            self._posting = False
            self._posted.append((claim, reached))
            self._changed.notify_all()

    def _post(self, claim: delivery.Claim) -> dict[str, int]:
        try:
            return delivery.post(claim, self._bridge())
        except Exception as error:
            self._note(error)
            return {}

    def _has_nothing_to_do(self) -> bool:
        return self._idle and not (self._posting or self._waiting or self._posted)

    def wake(self, topics: Collection[str]) -> None:
        """Have topics delivered soon, by the drainer's own thread."""
        with self._changed:
            self._waiting.update(topics)
            self._changed.notify_all()

    def finish(self) -> None:
        """Wait until nothing is left to do, but not for long. A lease that is left behind holds up its topic."""
        with self._changed:
            self._changed.wait_for(self._has_nothing_to_do, _LAST_SECONDS)

    def run(self) -> None:
        """Deliver for ever."""
        while True:
            with self._changed:
                self._idle = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: (self._waiting or self._posted) and not self._posting)
                self._idle = False
                topics = {self._waiting.pop() for _ in range(min(len(self._waiting), _TOPICS_AT_ONCE))}
                posted, self._posted = self._posted, []
            for claim, reached in posted:
                topics |= self._try(partial(delivery.settle, claim, reached))
            if topics and time.monotonic() >= self._closed_until:
                self.wake(self._try(partial(self._deliver, topics)))

    def _deliver(self, topics: Collection[str]) -> set[str]:
        more = delivery.deliver(topics, self._bridge())
        self._failed = False
        return more

    def _try(self, work: Callable[[], set[str]]) -> set[str]:
        """Do some of the thread's work; returns the topics with more to do."""
        try:
            return _once_or_twice(work)
        except Exception as error:
            self._note(error)
            return set()

    def _note(self, error: Exception) -> None:
        """Say what went wrong, and pause."""
        if isinstance(error, bridges.BridgeError):
            log.warning("The broadcast service is away.", extra={"reason": str(error)})
        else:
            outages.report(log, "Events could not be delivered.", error)
            db.connection.close()
        self._closed_until = time.monotonic() + _PAUSE_AFTER_FAILURE_SECONDS
        self._failed = True


def _once_or_twice(work: Callable[[], set[str]]) -> set[str]:
    """Do it on a new connection, should the old one have been broken since it was last used."""
    try:
        _connect()
        return work()
    except db.Error:
        db.connection.close()
        _connect()
        return work()


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


def lease() -> uuid.UUID | None:
    """Give a token to lease topics with whose events are about to be committed; None: `deliver` gets no claim."""
    return None if _instead else _of_this_process().lease()


def deliver(claim: delivery.Claim, others: Collection[str]) -> None:
    """Post what was claimed while it was committed, and have the other topics delivered by this process' drainer."""
    if _instead:
        _instead(others)
    else:
        _of_this_process().deliver(claim, others)


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
                atexit.register(drainer.finish)
                _drainer, _owner = drainer, os.getpid()
    return _drainer
