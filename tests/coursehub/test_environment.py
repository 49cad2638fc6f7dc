"""Reading the environment."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from apps.uploads.inspection import signatures
from coursehub.settings import environment as env
from coursehub.stack.procfile import PROJECT

SETTINGS = Path(env.__file__).with_name("__init__.py")


def _settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, Any]:
    """Read all settings, with some variables as given."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(SETTINGS))


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
    with pytest.raises(ImproperlyConfigured, match="and a port is a number"):
        env.database("postgresql://db.example:abc/name")


def test_a_database_that_went_without_a_word_is_found_out_as_the_url_says(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://db.example/name?keepalives_idle=60"
    options = _settings(monkeypatch, DATABASE_URL=url)["DATABASES"]["default"]["OPTIONS"]
    assert (options["keepalives_idle"], options["keepalives_count"], options["tcp_user_timeout"]) == ("60", 4, 30_000)


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "LOUD"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "redis://localhost:abc"),
        ("CELERY_BROKER_URL", "carrier-pigeon://localhost"),
        ("BROADCAST_URL", "broadcast:8080"),
        ("WEBSOCKET_PUBLIC_URL", "foo"),
        ("WEBSOCKET_PORT", "70000"),
        ("S3_ENDPOINT_URL", "foo"),
        ("S3_PUBLIC_ENDPOINT_URL", "files.example.com"),
        ("ACCESS_TOKEN_MINUTES", "99999999999999999"),
        ("REFRESH_TOKEN_DAYS", "36501"),
        ("OPERATION_KEPT_DAYS", "999999999999"),
        ("EVENT_KEPT_DAYS", "36501"),
        ("MEDIA_TRASH_DAYS", "36501"),
        ("OPERATION_IDLE_SECONDS", "0"),
        ("OPERATION_IDLE_SECONDS", "99999999999999999"),
        ("UPLOAD_IDLE_SECONDS", "99999999999999999"),
        ("RELAY_INTERVAL_MS", "0"),
        ("UPLOAD_IDLE_SECONDS", "0"),
        ("UPLOAD_IDLE_SECONDS", "²"),
        ("CORS_ALLOWED_ORIGINS", "localhost:3000"),
        ("CORS_ALLOWED_ORIGINS", "https://example.org, https://example.com/"),
        ("CORS_ALLOWED_ORIGINS", "*"),
        ("CORS_ALLOWED_ORIGINS", "https://*.example.org"),
        ("CSRF_TRUSTED_ORIGINS", "example.org"),
        ("CSRF_TRUSTED_ORIGINS", "*"),
        ("UPLOAD_TYPES", "video/mp4,foo/bar"),
        ("UPLOAD_TYPES", ","),
        ("MEDIA_CATEGORIES", "bogus"),
        ("VIDEO_CATEGORIES", "film"),
        ("UPLOAD_SPOOL_DIR", "/nowhere/at/all"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"^{name} must be "):
        _settings(monkeypatch, **{name: value})


@pytest.mark.parametrize("command", ["manage.py relay", "-m celery -A coursehub worker"])
def test_a_command_says_in_one_line_what_it_cannot_use(command: str) -> None:
    environ = os.environ | {"LOG_LEVEL": "LOUD"}
    ended = subprocess.run([sys.executable, *command.split()], env=environ, cwd=PROJECT, capture_output=True)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr.startswith(b"LOG_LEVEL must be one of DEBUG, INFO") and ended.stderr.count(b"\n") == 1


def test_what_may_hold_a_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        _settings(monkeypatch, REDIS_URL="http://:hunter2@localhost")
    assert "hunter2" not in str(refused.value)


def test_settings_are_read_as_they_are_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read = _settings(
        monkeypatch,
        LOG_LEVEL="info",
        REDIS_URL="redis://",
        CELERY_BROKER_URL="redis+socket:///run/redis",
        HOST="::",
        CSRF_TRUSTED_ORIGINS="https://*.example.org,http://localhost:8000",
        MEDIA_CATEGORIES="image, document",
        UPLOAD_SPOOL_DIR=str(tmp_path),
    )
    assert read["LOGGING"]["root"]["level"] == "INFO"
    assert read["MEDIA_CATEGORIES"] == ["image", "document"]
    assert read["CSRF_TRUSTED_ORIGINS"] == ["https://*.example.org", "http://localhost:8000"]
    assert (read["REDIS_URL"], read["UPLOAD_SPOOL_DIR"]) == ("redis://", str(tmp_path))


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_clients_are_told_an_address_of_ipv6_in_brackets(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    assert _settings(monkeypatch, HOST=host)["WEBSOCKET_PUBLIC_URL"] == "ws://[::1]:8080/ws/"


def test_the_types_that_may_be_named_are_those_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [kind.content_type for kind in vars(signatures).values() if isinstance(kind, signatures.Kind)]
    known = {*kinds, *(name.replace("video/", "audio/") for name in kinds)}
    assert set(_settings(monkeypatch, UPLOAD_TYPES=",".join(known))["UPLOAD_TYPES"]) == known
    usual = set(_settings(monkeypatch, UPLOAD_TYPES="")["UPLOAD_TYPES"])
    assert usual == set(kinds)
