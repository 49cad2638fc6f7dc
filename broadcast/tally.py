"""What the hub emitted, counted in plain numbers: cheap to add to, and made into metrics only when somebody asks."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from broadcast.contracts import events
from broadcast.parcel import Parcel

_OTHER: Final = "other"
_KNOWN_TYPES: Final = frozenset(
    value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)
)


class Tally(Collector):
    """The metrics of what the hub emitted; a watcher of it."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._by_type: Counter[str] = Counter()
        self._by_time = [0] * (len(bounds) + 1)
        self._deliveries = 0
        self._failed = 0
        self._seconds = 0.0

    def count(self, parcels: Sequence[Parcel], deliveries: int, failed: int, seconds: float) -> None:
        """Count events of one topic that went out together."""
        for parcel in parcels:
            # Types come from outside: only known ones become labels, or anyone could fill the memory.
            self._by_type[parcel.type if parcel.type in _KNOWN_TYPES else _OTHER] += 1
        self._deliveries += deliveries
        self._failed += failed
        self._seconds += seconds
        self._by_time[bisect_left(self._bounds, seconds / len(parcels))] += len(parcels)

    def collect(self) -> Iterator[Metric]:
        """Make the metrics."""
        emitted = CounterMetricFamily("coursehub_events_emitted", "Events emitted by the hub.", labels=["type"])
        for type_, count in self._by_type.items():
            emitted.add_metric([type_], count)
        yield emitted
        succeeded = self._deliveries - self._failed
        yield CounterMetricFamily("coursehub_listeners_notified", "Deliveries to listeners.", value=succeeded)
        yield CounterMetricFamily("coursehub_listener_errors", "Deliveries that raised.", value=self._failed)
        yield HistogramMetricFamily(
            "coursehub_emit_seconds",
            "Time to write one event to all.",
            buckets=self._buckets(),
            sum_value=self._seconds,
        )

    def _buckets(self) -> list[tuple[str, float]]:
        total, buckets = 0, []
        for bound, count in zip([*map(str, map(float, self._bounds)), "+Inf"], self._by_time, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return buckets
