"""
Progress: events that only say how far something is. They have no seq and may be lost; only the newest of a key matters.

They take the bridge, but neither the outbox nor anybody's time: one thread in each process sends what it was given
last: of every key the first figure at once, then eight a second, and the last one at once. While the broadcast service
is away they are thrown away.
"""

import logging
import os
import threading
import time
from collections.abc import Callable

from apps.core import clock
from apps.outbox import bridge as bridges
from apps.outbox.bridge import Outgoing
from apps.outbox.emit import Draft
from broadcast.contracts import bridge as contract
from broadcast.contracts import events

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.125
"""Ten a second are allowed; the last figure, and the first one of whoever goes on, need not wait."""

PATIENCE_SECONDS = 1.0
BRIEF_PATIENCE_SECONDS = 0.05
"""Whoever tells a figure holds locks meanwhile."""

_PAUSE_AFTER_FAILURE_SECONDS = 1.0
_KEYS_KEPT = 10_000


Figure = Draft | Callable[[], Draft]
"""What is to be sent, or makes it when its time has come: for figures that change more often than they are sent."""


class Sender:
    """Sends the newest figure of each key. Used by any number of threads; its own is `run`."""

    def __init__(
        self,
        bridge: Callable[[], bridges.Bridge] = bridges.of_this_thread,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bridge, self._now = bridge, now
        self._waiting: dict[str, Figure] = {}
        self._sent_at: dict[str, float] = {}
        self._last: set[str] = set()
        self._flying: set[str] = set()
        self._changed = threading.Condition()
        self._closed_until = 0.0

    def offer(self, key: str, figure: Figure) -> None:
        """Have this sent as the key's newest figure, unless a newer one comes first."""
        with self._changed:
            is_scheduled = key in self._waiting
            self._waiting[key] = figure
            if not is_scheduled:
                self._changed.notify_all()

    def tell(self, key: str, draft: Draft, patience_seconds: float = BRIEF_PATIENCE_SECONDS) -> None:
        """
        Send a figure now and return when it is out, or leave it if one of this key has just been sent.

        For those who hold what the next one needs to go on, maybe in another process: its figures come later.
        """
        with self._changed:
            if self._now() < max(self._closed_until, self._due_at(key)):
                return
            self._waiting[key] = draft
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_quiet(key), patience_seconds)
            self._waiting.pop(key, None)

    def finish(self, key: str, draft: Draft | None = None, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """
        Send the key's last figure and return when it is out; what is not out in time is thrown away.

        None: send nothing more of this key for now, and wait for what is under way.
        """
        deadline = self._now() + patience_seconds
        with self._changed:
            if draft is not None and self._now() >= self._closed_until:
                self._waiting[key] = draft
                self._last.add(key)
                self._changed.notify_all()
            else:
                self._waiting.pop(key, None)
            self._changed.wait_for(lambda: self._is_quiet(key), max(0.0, deadline - self._now()))
            self._waiting.pop(key, None)
            if draft is not None:
                self._last.discard(key)
                self._sent_at.pop(key, None)

    def run(self) -> None:
        """Send for ever."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
            self.send_due()
            with self._changed:
                self._changed.wait(self._pause())

    def send_due(self) -> None:
        """Send every figure whose time has come."""
        with self._changed:
            batch = self._take_due()
        if batch:
            self._post(batch)
        with self._changed:
            self._flying.clear()
            self._changed.notify_all()

    def _is_quiet(self, key: str) -> bool:
        return key not in self._waiting and key not in self._flying

    def _take_due(self) -> list[Figure]:
        now = self._now()
        if now < self._closed_until:
            self._waiting.clear()
            return []
        due = [key for key in self._waiting if self._due_at(key) <= now][: contract.MAX_EVENTS]
        self._flying = set(due)
        self._forget_old(now)
        self._sent_at |= dict.fromkeys(due, now)
        return [self._waiting.pop(key) for key in due]

    def _forget_old(self, now: float) -> None:
        if len(self._sent_at) > _KEYS_KEPT:
            self._sent_at = {key: at for key, at in self._sent_at.items() if now - at < INTERVAL_SECONDS}

    def _pause(self) -> float | None:
        """Tell how long there is nothing to do; None: until something is offered."""
        if not self._waiting:
            return None
        return max(0.0, min(self._due_at(key) for key in self._waiting) - self._now())

    def _due_at(self, key: str) -> float:
        return 0.0 if key in self._last or key not in self._sent_at else self._sent_at[key] + INTERVAL_SECONDS

    def _post(self, batch: list[Figure]) -> None:
        try:
            self._bridge().post([_encode(figure if isinstance(figure, Draft) else figure()) for figure in batch])
        except bridges.BridgeError as error:
            log.info("Progress was not taken.", extra={"reason": str(error)})
            self._closed_until = self._now() + _PAUSE_AFTER_FAILURE_SECONDS
        except Exception:
            log.exception("Progress could not be sent.")
            self._closed_until = self._now() + _PAUSE_AFTER_FAILURE_SECONDS


def _encode(draft: Draft) -> Outgoing:
    event = events.envelope(
        type_=draft.type,
        topic=draft.topic,
        operation_id=draft.operation_id or None,
        seq=None,
        timestamp=clock.to_ms(clock.now()),
        data=draft.data,
    )
    return Outgoing(draft.topic, events.encode(event).decode())


_sender: Sender | None = None
_owner = 0
_starting = threading.Lock()
_instead: Sender | None = None


def offer(key: str, figure: Figure) -> None:
    """Have a figure sent by this process' sender; see `Sender.offer`."""
    of_this_process().offer(key, figure)


def tell(key: str, draft: Draft) -> None:
    """Send a figure now by this process' sender, or leave it; see `Sender.tell`."""
    of_this_process().tell(key, draft)


def finish(key: str, draft: Draft | None = None) -> None:
    """Send a key's last figure by this process' sender; see `Sender.finish`."""
    of_this_process().finish(key, draft)


def use(sender: Sender | None) -> None:
    """Have another one send from now on; None: the process' own again."""
    global _instead
    _instead = sender


def of_this_process() -> Sender:
    """Give this process' sender, whose thread is started when it is first needed."""
    global _sender, _owner
    if _instead is not None:
        return _instead
    if _sender is None or _owner != os.getpid():
        with _starting:
            if _sender is None or _owner != os.getpid():
                # A forked child has its parent's sender but not its thread.
                sender = Sender()
                threading.Thread(target=sender.run, name="progress", daemon=True).start()
                _sender, _owner = sender, os.getpid()
    return _sender
