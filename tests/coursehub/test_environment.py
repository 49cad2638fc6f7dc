"""Reading the environment."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from coursehub.settings import environment as env


@pytest.mark.parametrize(
    ("value", "expected"), [("600/min", 600), ("10/s", 600), ("120/hour", 2), ("0", 0), ("5", 5), ("", 7)]
)
def test_a_rate_is_read_as_requests_a_minute(monkeypatch: pytest.MonkeyPatch, value: str, expected: int) -> None:
    monkeypatch.setenv("RATE", value)
    assert env.per_minute("RATE", "7/min") == expected


@pytest.mark.parametrize("value", ["many", "-1", "5/fortnight"])
def test_a_rate_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RATE", value)
    with pytest.raises(ImproperlyConfigured, match="RATE"):
        env.per_minute("RATE", "7/min")


def test_switches_and_numbers_and_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "on")
    monkeypatch.setenv("B", "No")
    monkeypatch.setenv("C", "maybe")
    monkeypatch.setenv("D", "12")
    monkeypatch.setenv("E", "a, b,,c")
    assert env.flag("A", False) and not env.flag("B", True) and env.flag("NOT_SET", True)
    assert env.number("D", 1) == 12 and env.number("NOT_SET", 1) == 1
    assert env.items("E") == ["a", "b", "c"]
    for read in (lambda: env.flag("C", True), lambda: env.number("A", 1)):
        with pytest.raises(ImproperlyConfigured):
            read()


def test_a_database_is_named_by_url_with_a_host_or_a_socket() -> None:
    plain = env.database("postgresql://user:p%40ss@db.example:5433/name?sslmode=require")
    assert plain | {"NAME": "name", "USER": "user", "PASSWORD": "p@ss", "HOST": "db.example", "PORT": "5433"} == plain
    assert plain["OPTIONS"] == {"sslmode": "require"}
    assert env.database("postgres://u@/n?host=/run/pg&port=5432")["HOST"] == "/run/pg"
    with pytest.raises(ImproperlyConfigured, match="only database"):
        env.database("sqlite:///x")


@pytest.mark.parametrize("value", ["https://bridge.internal/realtime", "http://127.0.0.1:8080", "http://[::1]:1"])
def test_a_url_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WHERE", value)
    assert env.url("WHERE", "", "http", "https") == value


@pytest.mark.parametrize(
    "value",
    ["bridge.internal:8080", "//bridge.internal", "http://", "http://:8080", "http://a:b", "http://[", "ftp://a"],
)
def test_a_url_that_leads_nowhere_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WHERE", value)
    with pytest.raises(ImproperlyConfigured, match="WHERE must be a URL that begins with http:// or https://"):
        env.url("WHERE", "", "http", "https")
