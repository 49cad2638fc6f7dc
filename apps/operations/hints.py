"""
Hints to Celery that a lane has work.

The step table is the queue; a hint only saves waiting for the relay. So it is tried once and briefly, and a broker that
is away costs a save no more than that.
"""

import logging
import time
from collections.abc import Collection

import celery

from apps.core import metrics

log = logging.getLogger(__name__)

_PAUSE_AFTER_FAILURE_SECONDS = 1.0
_closed_until = 0.0


def send(lanes: Collection[str]) -> None:
    """Tell the workers that lanes have work; never raises. After a failure it lets the relay do it for a second."""
    global _closed_until
    from apps.operations import tasks

    if time.monotonic() < _closed_until:
        return
    try:
        for lane in lanes:
            tasks.run_lane.apply_async((lane,))
    except Exception:
        # Whatever the broker's client raises: the steps are committed, and the relay finds them.
        _closed_until = time.monotonic() + _PAUSE_AFTER_FAILURE_SECONDS
        metrics.FAILED_OPEN.labels("broker").inc()
        log.warning("A hint could not be sent; the relay will see to it.", exc_info=True)


def broker_answers() -> None:
    """Check the broker; raises when it is away."""
    with celery.current_app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=1)
