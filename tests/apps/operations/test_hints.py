"""Hints: sent once, and nothing is lost or slow where they cannot be sent."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery, current_app
from django.test import Client

from apps.core import clock, metrics
from apps.core.redis import client
from apps.operations import chores, hints
from apps.operations.models import Operation, Step
from coursehub.stack.ports import free_port
from tests.apps.operations.notes import LANE, OTHER_LANE, Notes, ask, outcomes
from tests.support.api import ApiClient

Broker = Callable[[str], Any]


@pytest.fixture
def broker(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """Have hints go to a broker of the test's choice."""
    original = current_app._get_current_object()
    apps: list[Celery] = []

    def use(url: str) -> None:
        settings.CELERY_BROKER_URL = url
        # Celery looks there first.
        monkeypatch.setenv("CELERY_BROKER_URL", url)
        app = Celery("elsewhere", set_as_current=False)
        app.config_from_object("django.conf:settings", namespace="CELERY")
        app.set_current()
        apps.append(app)

    yield use
    original.set_current()
    for app in apps:
        app.close()


@pytest.fixture
def nobody_there(broker: Broker) -> None:
    broker(f"redis://127.0.0.1:{free_port()}/0")


@contextmanager
def _deaf() -> Iterator[str]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def _failures() -> float:
    return float(metrics.FAILED_OPEN.labels("broker")._value.get())


def _queued() -> int:
    return int(client().llen("edit"))


def test_each_request_sends_a_hint_for_each_lane_after_its_commit(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed", "succeed")
    assert _queued() == 1
    hints.send([LANE, OTHER_LANE])

    assert _queued() == 3


def test_a_refused_request_sends_none(api: ApiClient) -> None:
    api.post("courses/", {"title": ""})

    assert _queued() == 0


def test_hints_go_on_after_the_brokers_memory_was_lost(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed", key="before")
    client().flushall()
    ask(api.user, "succeed", key="after")

    assert _queued() == 1


def test_with_the_broker_away_a_save_is_taken_and_fast(api: ApiClient, nobody_there: None) -> None:
    failures = _failures()
    began = time.monotonic()
    answer = api.post("courses/", {"title": "Saved all the same"})

    assert time.monotonic() - began < 1
    assert answer.status == 202
    assert api.operation(answer)["status"] == "pending"
    assert _failures() == failures + 1


def test_with_a_broker_that_hangs_a_save_is_taken_and_fast(api: ApiClient, broker: Broker) -> None:
    with _deaf() as url:
        broker(url)
        began = time.monotonic()
        answer = api.post("courses/", {"title": "Saved all the same"})
        took = time.monotonic() - began

    assert answer.status == 202
    assert took < 1


def test_after_a_failure_nobody_tries_for_a_second(
    api: ApiClient, nobody_there: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = _failures()
    for _ in range(3):
        assert api.post("courses/", {"title": "Course"}).status == 202
    assert _failures() == failures + 1
    monkeypatch.setattr(hints, "_closed_until", time.monotonic())
    api.post("courses/", {"title": "Course"})

    assert _failures() == failures + 2


def test_what_could_not_be_hinted_at_is_done_by_the_relay(api: ApiClient, nobody_there: None) -> None:
    answer = api.post("courses/", {"title": "Course"})
    Step.objects.update(created_at=clock.now() - timedelta(seconds=2))
    chores.run_left_steps()

    assert api.operation(answer)["status"] == "succeeded"
    assert api.get(f"courses/{answer.data['courseId']}/").status == 200


def test_a_broker_of_another_kind_that_is_away_is_no_trouble_either(api: ApiClient, broker: Broker) -> None:
    broker(f"amqp://guest:guest@127.0.0.1:{free_port()}//")
    began = time.monotonic()

    assert api.post("courses/", {"title": "Course"}).status == 202
    assert time.monotonic() - began < 1


def test_readiness_says_that_the_broker_is_away(nobody_there: None) -> None:
    answer = Client().get("/readyz")

    assert answer.status_code == 200
    assert "broker" in answer.json()["degraded"]


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_readiness_does_not_wait_for_a_broker_that_hangs(broker: Broker, scheme: str) -> None:
    with _deaf() as url:
        broker(url.replace("redis", scheme))
        began = time.monotonic()
        answer = Client().get("/readyz")
        took = time.monotonic() - began

    assert "broker" in answer.json()["degraded"]
    assert took < 1


def test_readiness_says_nothing_of_a_broker_that_answers() -> None:
    assert "broker" not in Client().get("/readyz").json()["degraded"]


def test_with_a_worker_a_request_is_done_at_once(live: ApiClient, notes: Notes) -> None:
    ask(live.user, "succeed")

    assert outcomes() == {"1": "succeeded"}
    assert Operation.objects.get().status == "succeeded"
