"""What the relay does for operations."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import connection

from apps.core import outages
from apps.operations import runner, selectors, services
from apps.outbox import relay
from apps.outbox.relay import Chore

log = logging.getLogger(__name__)

_PATIENCE = timedelta(seconds=1)
_LANES_AT_ONCE = 500
_TURN_SECONDS = 1.0
"""Longer than a worker's: where there is no worker, the relay does it all."""


def register() -> None:
    """Give the relay its chores for operations."""
    relay.register(lambda: Chore("run-left-steps", settings.RELAY_INTERVAL_MS / 1000, run_left_steps))
    relay.register(
        lambda: Chore("end-incomplete", min(5.0, settings.OPERATION_IDLE_SECONDS / 4), services.end_incomplete)
    )
    relay.register(lambda: Chore("forget-operations", 3600, services.forget_old))


def run_left_steps() -> None:
    """Run steps that no worker has picked up: their hint was lost, or there is no broker, or no worker."""
    for lane in selectors.lanes_left_lying(_PATIENCE, _LANES_AT_ONCE):
        try:
            runner.take_turn(lane, _TURN_SECONDS)
        except Exception as error:
            # It comes again, oldest first: it must not keep those behind it from being run.
            outages.report(log, "A lane could not be run.", error, lane=lane)
            connection.close()
