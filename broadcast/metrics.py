"""What Prometheus may know of this process. Names are part of the product: dashboards and alerts use them."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, generate_latest

from broadcast.tally import Posts, Tally

_SECONDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_DELAY_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """The metrics of one service; a registry of its own, so that tests may have several."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.emitted = Tally(_SECONDS)
        registry.register(self.emitted)
        self.laggards = Gauge("coursehub_laggards", "Clients whose buffers are full at the moment.", registry=registry)
        self.send_loop = Gauge(
            "coursehub_send_loop", "The loop that sends events: native or python.", ["loop"], registry=registry
        )
        self.listeners = Gauge("coursehub_listeners", "Listeners in the hub, over all topics.", registry=registry)
        self.topics = Gauge("coursehub_topics", "Topics with listeners in this process.", registry=registry)
        self.connections = Gauge(
            "coursehub_connections", "Open connections: WebSockets and event streams.", registry=registry
        )
        self.streams = Gauge("coursehub_event_streams", "Open event streams, of the connections.", registry=registry)
        self.closed = Counter(
            "coursehub_connections_closed", "Connections closed by the server.", ["code"], registry=registry
        )
        self.refused = Counter(
            "coursehub_upgrades_refused", "WebSockets and event streams refused.", ["status"], registry=registry
        )
        self.limited = Counter("coursehub_limited", "Refused over a limit.", ["limit"], registry=registry)
        self.resumes = Counter("coursehub_resumes", "How subscriptions began.", ["outcome"], registry=registry)
        self.heals = Counter("coursehub_gap_heals", "Gaps found in topics.", ["outcome"], registry=registry)
        self.healed = Counter("coursehub_events_healed", "Events from history that filled a gap.", registry=registry)
        self.dropped = Counter("coursehub_events_dropped", "Events not emitted.", ["reason"], registry=registry)
        self.posts = Posts(_SECONDS)
        registry.register(self.posts)
        self.ingest_delay = Histogram(
            "coursehub_ingest_delay_seconds",
            "Age of the oldest event of a post once the history has it: by its timestamp, so by two clocks.",
            registry=registry,
            buckets=_DELAY_SECONDS,
        )
        self.layer_seconds = Histogram(
            "coursehub_channel_layer_seconds",
            "How long events took from the process that took them to this one, by two clocks.",
            registry=registry,
            buckets=_DELAY_SECONDS,
        )
        self.layer_lag = Gauge(
            "coursehub_channel_layer_lag_seconds", "How long a message took last.", ["node"], registry=registry
        )
        self.layer_losses = Counter(
            "coursehub_channel_layer_losses", "Times the channel layer lost something.", ["node"], registry=registry
        )
        self.epochs = Counter("coursehub_history_lost", "Times the history was lost.", registry=registry)
        GCCollector(registry)

    def measure_lag(self, topics: Callable[[], float], events: Callable[[], float]) -> None:
        """Let be read how many topics here have events that exist and were not emitted, and how many such events."""
        name, text = "coursehub_broadcast_topics_behind", "Topics here with events known to exist and not emitted yet."
        Gauge(name, text, registry=self.registry).set_function(topics)
        name, text = "coursehub_broadcast_events_behind", "Events of those topics that were not emitted yet."
        Gauge(name, text, registry=self.registry).set_function(events)

    def measure(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Let a gauge be read when it is asked for."""
        gauge.set_function(value)

    def render(self) -> bytes:
        """Render in Prometheus' text format."""
        return generate_latest(self.registry)
