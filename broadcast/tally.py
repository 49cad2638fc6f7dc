"""What happens for every event, in plain numbers: cheap to add to, made into metrics only when somebody asks."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from broadcast.contracts import events
from broadcast.sending.turn import Written

_OTHER: Final = "other"
_KNOWN_TYPES: Final = frozenset(
    value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)
)


class _Times:
    """A histogram of times, up to each of ``bounds`` (seconds)."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._seconds = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """Count so many that took so long together."""
        self._seconds += seconds
        self._counts[bisect_left(self._bounds, seconds / count)] += count

    def metric(self, name: str, text: str) -> Metric:
        """Make the metric."""
        total, buckets = 0, []
        for bound, count in zip([*map(str, map(float, self._bounds)), "+Inf"], self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self._seconds)


class Posts(Collector):
    """The metrics of what was posted to the bridge."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._by_status: Counter[int] = Counter()
        self._taken = 0
        self._times = _Times(bounds)

    def count(self, status: int, taken: int, seconds: float) -> None:
        """Count one POST: its answer, the events taken anew, and the time it took."""
        self._by_status[status] += 1
        self._taken += taken
        self._times.add(seconds)

    def collect(self) -> Iterator[Metric]:
        """Make the metrics."""
        posts = CounterMetricFamily("coursehub_bridge_requests", "Posts to the bridge.", labels=["status"])
        for status, count in self._by_status.items():
            posts.add_metric([str(status)], count)
        yield posts
        yield CounterMetricFamily("coursehub_events_ingested", "Events taken from the bridge.", value=self._taken)
        yield self._times.metric("coursehub_ingest_seconds", "Time to take one post.")


class Tally(Collector):
    """The metrics of what the hub emitted; a watcher of it."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._by_type: Counter[str] = Counter()
        self._deliveries = 0
        self._failed = 0
        self._times = _Times(bounds)

    def count(self, written: Sequence[Written]) -> None:
        """Count what went out together."""
        by_type = self._by_type
        for each in written:
            for parcel in each.parcels:
                # Types come from outside: only known ones become labels, or anyone could fill the memory.
                by_type[parcel.type if parcel.type in _KNOWN_TYPES else _OTHER] += 1
            self._deliveries += each.deliveries
            self._failed += each.failed
            self._times.add(each.seconds, len(each.parcels))

    def collect(self) -> Iterator[Metric]:
        """Make the metrics."""
        emitted = CounterMetricFamily("coursehub_events_emitted", "Events emitted by the hub.", labels=["type"])
        for type_, count in self._by_type.items():
            emitted.add_metric([type_], count)
        yield emitted
        succeeded = self._deliveries - self._failed
        yield CounterMetricFamily("coursehub_listeners_notified", "Deliveries to listeners.", value=succeeded)
        yield CounterMetricFamily("coursehub_listener_errors", "Deliveries that raised.", value=self._failed)
        yield self._times.metric("coursehub_emit_seconds", "Time to write one event to all.")
