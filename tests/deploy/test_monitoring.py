"""The dashboard and the alert rules, against what both services really say at /metrics."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from apps.core import metrics as api_metrics
from broadcast.config import Settings
from broadcast.service import Service

ROOT = Path(__file__).resolve().parents[2] / "deploy"
ALERTS = yaml.safe_load((ROOT / "prometheus/alerts.yml").read_text())
DASHBOARD = json.loads((ROOT / "grafana/coursehub.json").read_text())

RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
TARGETS: list[dict[str, Any]] = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for target in TARGETS]

_MATCHERS = re.compile(r"(coursehub_\w+)\{([^}]*)\}")
_GROUPED = re.compile(r"\bby \(([^)]*)\)")
_FUNCTIONS = {"max", "min", "sum", "absent", "rate", "increase", "delta", "histogram_quantile", "by"}
_OF_PROMETHEUS = {"le", "instance", "job"}


def _service() -> Service:
    return Service(
        Settings(
            redis_url="redis://127.0.0.1:1",
            channel_layer_urls=("redis://127.0.0.1:1",),
            broadcast_secret="b",
            ticket_secret="t",
        )
    )


def _sample_names(text: str) -> set[str]:
    """Name what can be asked for: a family without samples yet has those of its type."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    return {
        family.name + suffix
        for family in text_string_to_metric_families(text)
        for suffix in suffixes.get(family.type, ())
    }


@pytest.fixture
def names(db: None) -> set[str]:
    """What both services say."""
    said = Client().get("/metrics").content + _service().metrics.render()
    return _sample_names(said.decode())


def _labels() -> dict[str, set[str]]:
    service = _service().metrics
    asked = text_string_to_metric_families(Client().get("/metrics").content.decode())
    wrappers = [*vars(service).values(), *vars(api_metrics).values()]
    collected = {m.name: set(m._labelnames) for m in service.registry.collect() if isinstance(m, CounterMetricFamily)}
    sampled = {family.name: {label for sample in family.samples for label in sample.labels} for family in asked}
    return sampled | collected | {w._name: set(w._labelnames) for w in wrappers if isinstance(w, MetricWrapperBase)}


def _family(name: str) -> str:
    return re.sub(r"_(total|bucket|count|sum)$", "", name)


def _used_labels(expression: str) -> Iterator[tuple[set[str], str]]:
    """Yield metrics and a label that is asked of them."""
    for name, matchers in _MATCHERS.findall(expression):
        for matcher in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"[^"]*"', matchers):
            yield {name}, matcher
    everything = set(re.findall(r"coursehub_\w+", expression))
    for grouped in _GROUPED.findall(expression):
        for label in re.findall(r"\w+", grouped):
            yield everything, label


def test_every_metric_that_is_asked_for_is_there(names: set[str]) -> None:
    asked = {name for expression in EXPRESSIONS for name in re.findall(r"coursehub_\w+", expression)}
    assert asked - names == set()
    assert len(asked) > 20


def test_every_metric_that_tells_of_lag_is_on_the_dashboard(names: set[str]) -> None:
    shown = {_family(name) for target in TARGETS for name in re.findall(r"coursehub_\w+", target["expr"])}
    lag = {name for name in names if name.startswith(("coursehub_outbox_", "coursehub_broadcast_"))}
    assert lag <= shown


def test_every_label_that_is_asked_for_is_there(db: None) -> None:
    labels = _labels()
    for expression in EXPRESSIONS:
        for metrics, label in _used_labels(expression):
            for name in metrics:
                assert label in labels.get(_family(name), set()) | _OF_PROMETHEUS, (expression, label)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_are_put_together_well(expression: str) -> None:
    bare = re.sub(r'"[^"]*"', '""', expression)
    for pair in ("()", "{}", "[]"):
        assert bare.count(pair[0]) == bare.count(pair[1])
    called = set(re.findall(r"\b([a-z_]+)\s*\(", bare))
    assert called <= _FUNCTIONS
    for name in re.findall(r"coursehub_\w+", bare):
        counts = name.endswith(("_total", "_bucket", "_count", "_sum"))
        inside = re.search(rf"(rate|increase)\({name}(\{{[^}}]*\}})?\[\d+[mh]\]\)", bare)
        assert bool(inside) == counts, f"{name}: counters are asked for their rate, and nothing else is"


def test_rules_say_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.fullmatch(r"\d+m", rule["for"])


@pytest.mark.parametrize(
    "metric",
    [
        "coursehub_outbox_oldest_undelivered_seconds",
        "coursehub_purges_oldest_seconds",
        "coursehub_relay_overdue_seconds",
        "coursehub_steps_oldest_pending_seconds",
    ],
)
def test_whatever_waits_too_long_is_told_shown_and_described(metric: str) -> None:
    assert any(metric in rule["expr"] for rule in RULES)
    assert any(metric in target["expr"] for target in TARGETS)
    assert f"`{metric}" in (ROOT.parent / "docs/operations.md").read_text()


def test_it_is_told_when_the_database_or_whoever_would_tell_is_away() -> None:
    asked = {rule["expr"] for rule in RULES}
    assert "min(coursehub_database_up) < 1" in asked
    assert {"absent(coursehub_database_up)", "absent(coursehub_listeners)"} <= asked
    assert 'up{job=~"coursehub.*"} == 0' in asked


def test_panels_do_not_overlap() -> None:
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]}
    assert len(places) == len(DASHBOARD["panels"]) == len({panel["id"] for panel in DASHBOARD["panels"]})
