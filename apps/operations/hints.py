"""
Hints to Celery that a lane has work.

The step table is the queue; a hint only saves waiting for the relay. So it is tried once and briefly, and a broker that
is away costs a save no more than that.
"""

import logging
import time
from collections.abc import Collection
from functools import cache

import celery
from django.conf import settings
from kombu import Connection
from kombu.pools import producers

from apps.core import metrics

log = logging.getLogger(__name__)

_PAUSE_AFTER_FAILURE_SECONDS = 1.0
_PATIENCE_SECONDS = 0.2
_closed_until = 0.0


@cache
def _connection(url: str) -> Connection:
    """Say how hints travel: workers may wait for the broker at length, whoever sends a hint may not."""
    return celery.current_app.connection_for_write(url, transport_options=settings.HINT_TRANSPORT_OPTIONS)


def send(lanes: Collection[str]) -> None:
    """Tell the workers that lanes have work; never raises. After a failure it lets the relay do it for a second."""
    global _closed_until
    from apps.operations import tasks

    if time.monotonic() < _closed_until:
        return
    try:
        with producers[_connection(celery.current_app.conf.broker_write_url)].acquire(
            block=True, timeout=_PATIENCE_SECONDS
        ) as producer:
            for lane in lanes:
                tasks.run_lane.apply_async((lane,), producer=producer)
    except Exception:
        # Whatever the broker's client raises: the steps are committed, and the relay finds them.
        _closed_until = time.monotonic() + _PAUSE_AFTER_FAILURE_SECONDS
        metrics.FAILED_OPEN.labels("broker").inc()
        log.warning("A hint could not be sent; the relay will see to it.", exc_info=True)


def broker_answers() -> None:
    """Check the broker; raises when it is away."""
    with celery.current_app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=1)
