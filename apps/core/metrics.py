"""
Metrics for operators. What happens in this process is counted here; what the database knows is asked for on scraping.

An app adds its own questions with `on_scrape`, from its ``AppConfig.ready``.
"""

import os
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.core import REGISTRY, Metric

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
        for ask in _questions:
            yield from ask()


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
