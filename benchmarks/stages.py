"""
Where the time of a save goes, by three clocks that are one: the client's, the event's timestamp, and PostgreSQL's.

PostgreSQL notes when each transaction was committed (``track_commit_timestamp``): the request's row was committed with
the request, the event's row with the work. The worker's beginning is the event's timestamp, cut to milliseconds.
"""

import http.client
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from benchmarks.figures import Figures
from benchmarks.stack import Bench
from benchmarks.subjects import Sample
from demo.timing import percentile

SCENARIO = "where the time goes"
_CUT_SECONDS = 0.0005
"""What a time cut to whole milliseconds lacks on average."""
_COMMITS = """
    SELECT operation.key,
           extract(epoch FROM pg_xact_commit_timestamp(request.xmin))::float8,
           extract(epoch FROM event.created_at)::float8,
           extract(epoch FROM pg_xact_commit_timestamp(event.xmin))::float8
    FROM operations_operation operation
    JOIN operations_request request ON request.operation_id = operation.id
    JOIN outbox_outboxevent event ON event.operation_id = operation.key
    WHERE operation.key = ANY(%s)
"""


def note(bench: Bench, figures: Figures, samples: Sequence[Sample]) -> None:
    """Note how a round's saves of one user divide into stages."""
    by_id = {sample.operation_id: sample for sample in samples}
    with bench.connect() as connection:
        rows = connection.execute(_COMMITS, [list(by_id)]).fetchall()
    stages: dict[str, list[float]] = {}
    for key, stored, begun, done in rows:
        for name, seconds in divide(by_id[str(key)], float(stored), float(begun) + _CUT_SECONDS, float(done)).items():
            stages.setdefault(name, []).append(seconds)
    for name, times in stages.items():
        figures.note(SCENARIO, name, bench.product.name, percentile(times, 50) * 1000)


def divide(sample: Sample, stored: float, begun: float, done: float) -> dict[str, float]:
    """Divide a save by when its steps were committed, a worker had begun, and its event was committed."""
    return {
        "request: sent → steps committed": stored - sample.sent_at,
        "queue: → a worker has begun (hint, broker, lane, load)": begun - stored,
        "worker: → change and event committed": done - begun,
        "bridge and fan-out: → event on the screen": sample.sent_at + sample.heard - done,
        "beside it: sent → 202": sample.answered,
    }


def note_histograms(figures: Figures, subject: str, before: Mapping[str, float], after: Mapping[str, float]) -> None:
    """Note the mean of what the parts measured of themselves between two looks at their metrics."""
    for name, figure in _HISTOGRAMS.items():
        count = after.get(f"{name}_count", 0) - before.get(f"{name}_count", 0)
        total = after.get(f"{name}_sum", 0) - before.get(f"{name}_sum", 0)
        if count:
            figures.note(SCENARIO, figure, subject, total / count * 1000)


_HISTOGRAMS = {
    "coursehub_request_seconds": "of the request: inside Django (mean)",
    "coursehub_ingest_seconds": "of the bridge: taking a POST (mean)",
    "coursehub_emit_seconds": "of the fan-out: writing to all sockets (mean)",
}
_SAMPLE = re.compile(r"^(\w+_(?:sum|count))(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def histograms(bench: Bench) -> dict[str, float]:
    """Read the sums and counts of the parts' histograms; of the API's requests only those that edit."""
    return sums(_metrics(bench.stack.api_url)) | sums(_metrics(bench.stack.env["BROADCAST_URL"]))


def sums(text: str) -> dict[str, float]:
    """Find the sums and counts in Prometheus' text format, over all labels but for the method."""
    values: dict[str, float] = {}
    for name, labels, value in _SAMPLE.findall(text):
        if "method=" not in labels or 'method="PATCH"' in labels:
            values[name] = values.get(name, 0.0) + float(value)
    return values


def _metrics(url: str) -> str:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return text
