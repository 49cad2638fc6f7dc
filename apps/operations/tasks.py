"""What Celery runs."""

import logging

from celery import shared_task

from apps.core import outages
from apps.operations import hints, runner

log = logging.getLogger(__name__)

TURN_SECONDS = 0.1


@shared_task(name=hints.RUN_LANE, ignore_result=True, acks_late=True)
def run_lane(lane: str) -> None:
    """
    Run what is pending in a lane. Safe to run twice, late, or not at all: the relay finds what is left.

    A hint is acknowledged afterwards, when nobody waits for it any more.
    """
    outages.try_twice(log, lambda: runner.take_turn(lane, TURN_SECONDS))
