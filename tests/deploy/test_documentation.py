"""docs/deployment.md names every variable that anything reads, and no other."""

import re
from dataclasses import fields

import pytest
import yaml

from broadcast import config
from coursehub.stack import parts, procfile

PROJECT = procfile.PROJECT
DOCUMENT = (PROJECT / "docs" / "deployment.md").read_text()
ROW = re.compile(r"^\| ((?:`[A-Z0-9_]+`(?:, )?)+) \|", re.MULTILINE)
NAME = re.compile(r"`([A-Z0-9_]+)`")
NOT_SETTINGS = {"DJANGO_SETTINGS_MODULE"}


def documented() -> set[str]:
    return {name for row in ROW.findall(DOCUMENT) for name in NAME.findall(row)}


def read_by_settings() -> set[str]:
    text = (PROJECT / "coursehub" / "settings" / "__init__.py").read_text()
    required = re.findall(r"env\.required\((.*?)\)", text, re.DOTALL)
    first = re.findall(r"env\.\w+\(\s*['\"]([A-Z][A-Z0-9_]+)['\"]", text)
    return {name for names in required for name in re.findall(r"\"(\w+)\"", names)} | set(first)


def read_by_gunicorn() -> set[str]:
    text = (PROJECT / "coursehub" / "gunicorn.conf.py").read_text()
    return set(re.findall(r"(?:environ\[|env\.\w+\()['\"]([A-Z_]+)", text))


def read_by_the_procfile() -> set[str]:
    return set(re.findall(r"\$\{?([A-Z_]+)", procfile.PROCFILE.read_text()))


def read_by_broadcast() -> set[str]:
    limits = {field.name for field in fields(config.Settings) if field.type in (int, float)} - {"port"}
    plain = {
        "REDIS_URL",
        "CHANNEL_LAYER_URLS",
        "BROADCAST_SECRET",
        "TICKET_SECRET",
        "HOST",
        "WEBSOCKET_PORT",
        "LOG_LEVEL",
        "BROADCAST_TRUSTED_PROXIES",
        "BROADCAST_NATIVE",
        "BROADCAST_CACHE",
    }
    return plain | {f"BROADCAST_{name.upper()}" for name in limits}


READERS = {
    "settings": read_by_settings,
    "gunicorn": read_by_gunicorn,
    "procfile": read_by_the_procfile,
    "broadcast": read_by_broadcast,
    "stack": lambda: set(parts.OURS),
    "compose": lambda: {
        name
        for service in yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"].values()
        if "build" in service
        for name in service.get("environment", {})
    },
}


@pytest.mark.parametrize("reader", READERS)
def test_every_variable_that_is_read_is_documented(reader: str) -> None:
    found = READERS[reader]()
    assert found, "nothing was found, so that nothing was shown"
    assert found - NOT_SETTINGS <= documented()


def test_no_variable_is_documented_that_nothing_reads() -> None:
    read = set[str]().union(*(reader() for reader in READERS.values()))
    assert documented() - read == set()


def test_every_part_of_the_procfile_is_explained() -> None:
    for name, command in procfile.read().items():
        assert f"`{name}`" in DOCUMENT, command


def test_it_says_that_the_image_was_not_built() -> None:
    assert "not built in CI" in DOCUMENT
