"""Run the relay."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand

from apps.outbox import relay

_ENDING = signal.SIGTERM, signal.SIGINT


class Command(BaseCommand):
    help = "Deliver and finish what was left lying: runs until SIGTERM or Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        with _set_by_signals(stop):
            relay.run(stop)


@contextmanager
def _set_by_signals(stop: threading.Event) -> Iterator[None]:
    """
    Have a thread set ``stop`` when a signal comes.

    A handler in Python runs when the main thread does. One that is just going to wait for the others, and waits for
    its turn to do so, is not woken by a signal, and would sleep on with the signal noted.
    """
    heard, told = socket.socketpair()

    def wait() -> None:
        if heard.recv(1):
            stop.set()

    told.setblocking(False)
    before = signal.set_wakeup_fd(told.fileno())
    for number in _ENDING:
        signal.signal(number, lambda *_: None)  # only now: until it is told, a signal ends the process as it comes
    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        told.close()
        waiting.join()
        heard.close()
