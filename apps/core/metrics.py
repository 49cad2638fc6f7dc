"""
Metrics for operators. What happens in this process is counted here; what the database knows is asked for on scraping,
and left out while it is away.

An app adds its own questions with `on_scrape`, from its ``AppConfig.ready``.
"""

import logging
import os
from collections.abc import Callable, Iterable

from django.db import Error
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.core import REGISTRY, GaugeMetricFamily, Metric

log = logging.getLogger(__name__)

REQUEST_SECONDS = Histogram(
    "coursehub_request_seconds",
    "Time to answer a request.",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)
FAILED_OPEN = Counter("coursehub_failed_open_total", "Times a part was away and work went on without it.", ["part"])

Collect = Callable[[], Iterable[Metric]]
_questions: list[Collect] = []


def on_scrape(collect: Collect) -> Collect:
    """Register a function that yields metric families whenever ``/metrics`` is read."""
    _questions.append(collect)
    return collect


class _Questions:
    def collect(self) -> Iterable[Metric]:
        """Yield all answers of the database, and whether there were some that it did not give."""
        answers = [_ask(question) for question in _questions]
        for answer in answers:
            yield from answer or ()
        is_up = all(answer is not None for answer in answers)
        yield GaugeMetricFamily("coursehub_database_up", "Whether the database answers; 0 or 1.", value=float(is_up))


def _ask(question: Collect) -> list[Metric] | None:
    """Give a whole answer, or None."""
    try:
        return list(question())
    except Error:
        log.warning("The database did not say what was asked of it for /metrics.", exc_info=True)
        return None


def exposition() -> bytes:
    """Give all metrics in Prometheus' text format; those counted in sibling processes too, when there are any."""
    registry = CollectorRegistry()
    registry.register(_Questions())
    counted = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    else:
        counted = REGISTRY
    return generate_latest(counted) + generate_latest(registry)
