"""What Celery runs."""

from celery import shared_task
from django.db import InterfaceError, OperationalError, connection

from apps.operations import hints, runner

TURN_SECONDS = 0.1


@shared_task(name=hints.RUN_LANE, ignore_result=True, acks_late=True)
def run_lane(lane: str) -> None:
    """
    Run what is pending in a lane. Safe to run twice, late, or not at all: the relay finds what is left.

    A hint is acknowledged afterwards, when nobody waits for it any more.
    """
    try:
        runner.take_turn(lane, TURN_SECONDS)
    except (OperationalError, InterfaceError):
        # The connection may have been broken since the last job; asking before each one would cost every save. What was
        # not committed has been rolled back, so it is simply run again.
        connection.close()
        runner.take_turn(lane, TURN_SECONDS)
