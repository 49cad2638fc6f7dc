"""What Celery runs."""

from celery import shared_task
from django.db import connection

from apps.operations import runner


@shared_task(name="operations.run_lane", ignore_result=True)
def run_lane(lane: str) -> None:
    """Run what is pending in a lane. Safe to run twice, late, or not at all: the relay finds what is left."""
    connection.close_if_unusable_or_obsolete()
    runner.run_lane(lane)
