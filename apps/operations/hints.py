"""
Hints to Celery that a lane has work, or something else that the relay would find in time.

The step table is the queue; a hint only saves waiting for the relay. So it is tried once and briefly, and a broker that
is away costs a save no more than that.
"""

import logging
import time
from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import celery
from amqp import AMQPError
from django.conf import settings
from kombu import Connection
from kombu.exceptions import KombuError
from kombu.pools import producers
from redis import RedisError

from apps.core import ids, metrics

log = logging.getLogger(__name__)

RUN_LANE = "operations.run_lane"
"""The task's name."""
QUEUE = "edit"

_PAUSE_AFTER_FAILURE_SECONDS = 1.0
_PATIENCE_SECONDS = 0.2
_BROKER_AWAY = (KombuError, RedisError, AMQPError, OSError)
_closed_until = 0.0
_declared: set[str] = set()
_instead: Callable[[str], None] | None = None


@cache
def _connection(url: str) -> Connection:
    """Say how hints travel: workers may wait for the broker at length, whoever sends a hint or asks for it may not."""
    return celery.current_app.connection_for_write(url, transport_options=settings.HINT_TRANSPORT_OPTIONS)


def use(run: Callable[[str], None] | None) -> None:
    """Have each lane run at once instead of telling the workers; None: tell them again. For tests without workers."""
    global _instead
    _instead = run


def send(lanes: Collection[str]) -> None:
    """Tell the workers that lanes have work; never raises."""
    if _instead:
        for lane in lanes:
            _instead(lane)
    else:
        publish(RUN_LANE, lanes, queue=QUEUE)


def publish(task: str, values: Collection[str], *, queue: str) -> None:
    """Have a task run for each value; never raises. After a failure it lets the relay do it for a second."""
    global _closed_until
    if time.monotonic() >= _closed_until:
        try:
            _publish(task, values, queue)
        except Exception as error:
            # Whatever the broker's client raises: the steps are committed, and the relay finds them.
            _closed_until = time.monotonic() + _PAUSE_AFTER_FAILURE_SECONDS
            _declared.clear()
            metrics.FAILED_OPEN.labels("broker").inc()
            log.warning("A hint could not be sent; the relay will see to it.", **_why(error))


def _why(error: Exception) -> dict[str, Any]:
    """Say it in one line if the broker is away, otherwise with its traceback."""
    if isinstance(error, _BROKER_AWAY):
        return {"extra": {"reason": f"{type(error).__name__}: {error}"}}
    return {"exc_info": error}


def _publish(task: str, values: Collection[str], queue: str) -> None:
    """
    Do what `Task.apply_async` does, but for the half of it that looks up settings of which a hint has none.

    A queue is declared once: finding out for each message that it was costs half of sending it.
    """
    amqp = celery.current_app.amqp
    declare = [] if queue in _declared else [amqp.queues[queue]]
    pool = producers[_connection(celery.current_app.conf.broker_write_url)]
    with pool.acquire(block=True, timeout=_PATIENCE_SECONDS) as producer:
        for value in values:
            headers, properties, body, _ = amqp.create_task_message(str(ids.new_id()), task, (value,), {})
            producer.publish(body, routing_key=queue, serializer="json", headers=headers, declare=declare, **properties)
    _declared.add(queue)


def broker_answers() -> None:
    """Check the broker; raises when it is away."""
    with _connection(celery.current_app.conf.broker_write_url).clone() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=1)
