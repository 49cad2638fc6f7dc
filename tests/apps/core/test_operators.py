"""What operators see: health, metrics, throttling, logs, and what happens while parts are away."""

import logging
from collections.abc import Iterator

import pytest
from django.conf import settings as django_settings
from django.core.checks import run_checks
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings

from apps.core import checks, health, logs, rendering
from apps.core import redis as redis_module
from apps.core.middleware import RequestContext
from coursehub.stack.ports import free_port
from tests.support.api import ApiClient


@pytest.fixture
def database_away() -> Iterator[None]:
    """Point the API at a PostgreSQL that is not there."""
    there = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict |= {"HOST": "127.0.0.1", "PORT": str(free_port())}
    yield
    connection.settings_dict |= there
    connection.close()


@pytest.fixture
def redis_away(settings: Settings) -> object:
    """Point the API at a Redis that is not there."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    redis_module.client.cache_clear()
    yield
    redis_module.client.cache_clear()


def test_alive_and_ready(api: ApiClient) -> None:
    assert api.get("/healthz").body == {"status": "alive"}
    answer = api.get("/readyz")
    assert answer.status == 200
    assert "redis" not in answer.body["degraded"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_operators_only_ask(path: str, method: str) -> None:
    browser = Client(enforce_csrf_checks=True)
    answer = browser.generic(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"
    assert browser.head(path).status_code == 200


def test_what_is_away_but_not_needed_is_reported_as_degraded(api: ApiClient, redis_away: None) -> None:
    answer = api.get("/readyz")
    assert answer.status == 200
    assert answer.body["status"] == "degraded"
    assert {"redis", "broadcast"} <= set(answer.body["degraded"])


def test_saves_are_taken_while_redis_is_away(api: ApiClient, redis_away: None) -> None:
    assert api.post("courses/", {"title": "still"}).status == 202


def test_draining_is_not_ready(api: ApiClient) -> None:
    health.drain()
    try:
        assert api.get("/readyz").status == 503
        assert api.get("/healthz").status == 200
    finally:
        health._draining.clear()


def test_metrics_count_requests_and_tell_what_waits(live: ApiClient) -> None:
    live.chapter(live.course())
    text = live.get("/metrics").body.decode()

    assert 'coursehub_request_seconds_count{method="POST",route="api/v1/courses/",status="202"}' in text
    for name in (
        "coursehub_steps_pending 0.0",
        "coursehub_operations_unfinished 0.0",
        "coursehub_outbox_undelivered 3.0",
        "coursehub_outbox_withheld 0.0",
    ):
        assert name in text


def test_metrics_count_methods_that_nobody_knows_as_one(api: ApiClient) -> None:
    for method in ("EVIL1", "EVIL2"):
        assert Client().generic(method, "/healthz").status_code == 405
    text = api.get("/metrics").body.decode()

    assert 'coursehub_request_seconds_count{method="other",route="healthz",status="405"} 2.0' in text
    assert "EVIL" not in text


def test_metrics_say_that_the_database_is_there(api: ApiClient) -> None:
    assert "coursehub_database_up 1.0" in api.get("/metrics").body.decode()


def test_metrics_are_told_while_the_database_is_away(api: ApiClient, database_away: None) -> None:
    answer = api.get("/metrics")
    text = answer.body.decode()

    assert answer.status == 200
    assert "coursehub_database_up 0.0" in text and "coursehub_request_seconds_count" in text
    assert "coursehub_steps_pending" not in text


def test_a_user_who_asks_too_often_waits(api: ApiClient, settings: Settings) -> None:
    settings.THROTTLE_USER_PER_MINUTE = 3
    answers = [api.get("courses/") for _ in range(4)]

    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].error["code"] == "throttled"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    settings.THROTTLE_USER_PER_MINUTE = 0
    assert api.get("courses/").status == 200


def test_nobody_is_throttled_while_redis_is_away(api: ApiClient, settings: Settings, redis_away: None) -> None:
    settings.THROTTLE_USER_PER_MINUTE = 1
    assert {api.get("courses/").status for _ in range(3)} == {200}


def test_a_request_keeps_the_id_it_came_with_if_that_is_one(api: ApiClient) -> None:
    assert api.get("courses/", X_Request_ID="abc-1").headers["X-Request-ID"] == "abc-1"
    assert api.get("courses/", X_Request_ID="a b").headers["X-Request-ID"] != "a b"


def test_the_log_names_request_and_operation_and_no_query(api: ApiClient, caplog: pytest.LogCaptureFixture) -> None:
    names = logs.ContextFilter()
    caplog.handler.addFilter(names)
    try:
        with caplog.at_level(logging.INFO, "coursehub.access"):
            api.post("courses/?ticket=secret", {"title": "x", "operationId": "op-7"}, X_Request_ID="req-7")
    finally:
        caplog.handler.removeFilter(names)

    (record,) = [record for record in caplog.records if record.name == "coursehub.access"]
    assert (record.requestId, record.operationId, record.status) == ("req-7", "op-7", 202)  # type: ignore[attr-defined]
    assert "secret" not in str(record.__dict__)


@pytest.mark.parametrize(
    ("said", "logged"),
    [
        ("Error handling request GET /healthz?ticket=secret", "Error handling request GET /healthz?…"),
        ("Invalid HTTP request line: 'GET /x?a=secret b=secret HTTP/1.1'", "Invalid HTTP request line: 'GET /x?…"),
        ("Worker was sent SIGKILL! Perhaps out of memory?", "Worker was sent SIGKILL! Perhaps out of memory?"),
    ],
)
def test_what_gunicorn_logs_has_no_query_either(caplog: pytest.LogCaptureFixture, said: str, logged: str) -> None:
    words = said.split()
    logging.getLogger("gunicorn.error").error(" ".join(["%s"] * len(words)), *words)

    assert [record.getMessage() for record in caplog.records] == [logged]
    assert "secret" not in str(caplog.records[0].__dict__)


def test_a_crash_says_nothing_of_its_cause() -> None:
    error = rendering.translate(RuntimeError("password=hunter2"))
    assert (error.status, error.code) == (500, "internal_error")
    assert "hunter2" not in str(error.as_dict())


def test_no_secret_has_a_default() -> None:
    from django.core.exceptions import ImproperlyConfigured

    from coursehub.settings import environment

    with pytest.raises(ImproperlyConfigured, match="NOT_SET_A, NOT_SET_B"):
        environment.required("NOT_SET_A", "NOT_SET_B")
    assert django_settings.SECRET_KEY != ""


def test_secrets_that_are_the_same_are_warned_of(settings: Settings) -> None:
    assert checks.secrets_differ() == []
    settings.TICKET_SECRET = settings.BROADCAST_SECRET
    (warning,) = checks.secrets_differ()
    assert warning.msg == "BROADCAST_SECRET and TICKET_SECRET are the same."
    assert warning in run_checks()


def test_who_asks_for_the_head_only_gets_no_body_and_its_length() -> None:
    def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponse(b"x" * 100, status=503, headers={"Content-Length": "100"})

    # Not by the test client, which drops such bodies itself.
    response = RequestContext(answer)(RequestFactory().head("/readyz"))

    assert (response.status_code, response.content, response["Content-Length"]) == (503, b"", "100")
