"""
One PostgreSQL and one Valkey for the whole test session, before Django reads its settings.

A pytest plugin, loaded by ``-p`` in pyproject.toml. With ``COURSEHUB_TEST_EXTERNAL=1`` the servers are those of
``DATABASE_URL`` and ``REDIS_URL``; what is in them goes.
"""

import atexit
import os
from collections.abc import Generator
from typing import Any

import pytest

from coursehub.stack import parts, ports
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.services import Services

_OF_THE_SHELL = (
    *("HOST", "PORT", "WEBSOCKET_PORT", "CHANNEL_LAYER_URLS", "CELERY_BROKER_URL", "WEBSOCKET_PUBLIC_URL"),
    *("ALLOWED_HOSTS", "CORS_ALLOWED_ORIGINS", "CSRF_TRUSTED_ORIGINS", "REGISTRATION", "LOG_LEVEL", "DATABASE_URL"),
    *("REDIS_URL", "SECRET_KEY", "BROADCAST_SECRET", "TICKET_SECRET"),
    *parts.OBJECTS,
)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Generator[None, object, object]:
    """Start the services: a wrapper comes before pytest-django, which reads the settings in the same hook."""
    _prepare_environment()
    return (yield)


def pytest_unconfigure() -> None:
    """Stop the services."""
    _stop()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test has failed: what was not run was not shown."""
    return _failed_if_skipped((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a file that is skipped whole."""
    return _failed_if_skipped((yield))


def _failed_if_skipped(report: Any) -> Any:
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"Skipped in CI: {report.longrepr}"
    return report


_services: Services | None = None


def _prepare_environment() -> None:
    external = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL") if _is_external(name)}
    for name in _OF_THE_SHELL:
        os.environ.pop(name, None)
    os.environ |= (
        external
        | _start(frozenset(external) | {"S3_ENDPOINT_URL"})
        | {
            # Nothing listens there until a test says so.
            "BROADCAST_URL": f"http://127.0.0.1:{ports.free_port()}",
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{ports.free_port()}",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "COURSEHUB_EMBEDDED": "1",
            "THROTTLE_USER": "0",
            "THROTTLE_LOGINS": "0",
        }
    )
    os.environ["CELERY_BROKER_URL"] = os.environ["REDIS_URL"]


def _is_external(name: str) -> bool:
    return os.environ.get("COURSEHUB_TEST_EXTERNAL") == "1" and bool(os.environ.get(name))


def _start(external: frozenset[str]) -> dict[str, str]:
    global _services
    _services = Services(DataDirectory.temporary(), fast=True, external=external)
    atexit.register(_stop)
    return _services.__enter__().env


def _stop() -> None:
    if _services:
        _services.stop()
