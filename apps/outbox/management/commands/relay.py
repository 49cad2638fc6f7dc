"""Run the relay."""

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from apps.outbox import relay


class Command(BaseCommand):
    help = "Deliver and finish what was left lying: runs until SIGTERM or Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        relay.run(stop)
