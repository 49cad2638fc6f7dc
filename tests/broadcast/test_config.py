"""The environment of the broadcast service."""

import pytest

from broadcast import config
from broadcast.config import ConfigurationError

ENOUGH = {"REDIS_URL": "redis://localhost/0", "BROADCAST_SECRET": "b", "TICKET_SECRET": "t"}


def test_three_variables_are_enough():
    settings = config.load(ENOUGH)
    assert (settings.host, settings.port, settings.log_level) == ("127.0.0.1", 8080, "INFO")
    assert settings.channel_layer_urls == ("redis://localhost/0",)
    assert settings.heartbeat_seconds == 25


@pytest.mark.parametrize("name", sorted(ENOUGH))
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_missing_is_named(name: str, value: str | None):
    environ = {key: text for key, text in ENOUGH.items() if key != name}
    if value is not None:
        environ[name] = value
    with pytest.raises(ConfigurationError, match=name):
        config.load(environ)


def test_every_limit_can_be_set():
    settings = config.load(
        ENOUGH
        | {
            "HOST": "0.0.0.0",  # noqa: S104
            "WEBSOCKET_PORT": "9000",
            "CHANNEL_LAYER_URLS": "redis://a, rediss://b ,unix:///c",
            "LOG_LEVEL": "debug",
            "BROADCAST_HEARTBEAT_SECONDS": "0.5",
            "BROADCAST_HISTORY_LENGTH": "10",
        }
    )
    assert (settings.host, settings.port, settings.log_level) == ("0.0.0.0", 9000, "DEBUG")  # noqa: S104
    assert settings.channel_layer_urls == ("redis://a", "rediss://b", "unix:///c")
    assert (settings.heartbeat_seconds, settings.history_length) == (0.5, 10)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_address_of_ipv6_may_stand_in_brackets(host: str):
    assert config.load(ENOUGH | {"HOST": host}).host == "::1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEBSOCKET_PORT", "x"),
        ("WEBSOCKET_PORT", "0"),
        ("WEBSOCKET_PORT", "65536"),
        ("BROADCAST_HISTORY_LENGTH", "1.5"),
        ("BROADCAST_HEARTBEAT_SECONDS", "-1"),
        ("BROADCAST_HEARTBEAT_SECONDS", "nan"),
        ("BROADCAST_HEARTBEAT_SECONDS", "inf"),
        ("REDIS_URL", "http://localhost"),
        ("REDIS_URL", "redis://localhost:abc"),
        ("CHANNEL_LAYER_URLS", ","),
        ("CHANNEL_LAYER_URLS", "redis://a,localhost"),
        ("LOG_LEVEL", "LOUD"),
        ("CORS_ALLOWED_ORIGINS", "localhost:3000"),
        ("CORS_ALLOWED_ORIGINS", "https://example.org, https://example.com/"),
        ("CORS_ALLOWED_ORIGINS", "*"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: str):
    with pytest.raises(ConfigurationError, match=name):
        config.load(ENOUGH | {name: value})
