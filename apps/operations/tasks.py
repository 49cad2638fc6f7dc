"""What Celery runs."""

from celery import shared_task
from django.db import InterfaceError, OperationalError, connection

from apps.operations import hints, runner


@shared_task(name=hints.RUN_LANE, ignore_result=True)
def run_lane(lane: str) -> None:
    """Run what is pending in a lane. Safe to run twice, late, or not at all: the relay finds what is left."""
    try:
        runner.run_lane(lane)
    except (OperationalError, InterfaceError):
        # The connection may have been broken since the last job; asking before each one would cost every save. What was
        # not committed has been rolled back, so it is simply run again.
        connection.close()
        runner.run_lane(lane)
