"""The one place where the broadcast service reads its environment."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from broadcast.addresses import Network, parse_networks
from broadcast.contracts import origins

_CACHE = "~/.cache/coursehub"
_TRUSTED_PROXIES = "BROADCAST_TRUSTED_PROXIES"
_LOCAL_ORIGINS = tuple(f"http://{host}:{port}" for host in ("localhost", "127.0.0.1") for port in (3000, 5173))
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class ConfigurationError(Exception):
    """A variable of the environment is missing or cannot be used; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    Everything an operator can set.

    The first six come from the variables of the same name in capitals (``port`` from ``WEBSOCKET_PORT``,
    ``channel_layer_urls`` from ``CHANNEL_LAYER_URLS``, comma-separated, otherwise ``REDIS_URL``), ``log_level`` and
    ``cors_allowed_origins`` (comma-separated), too, and each of the others from ``BROADCAST_`` and its name in
    capitals.
    """

    redis_url: str
    channel_layer_urls: tuple[str, ...]
    broadcast_secret: str
    ticket_secret: str
    host: str = "127.0.0.1"
    port: int = 8080
    log_level: str = "INFO"
    native: bool = True
    """Whether the loop that sends events is the one in C, where it can be had; ``BROADCAST_NATIVE``."""
    cache: str = _CACHE
    """The directory that it is compiled into; ``BROADCAST_CACHE``."""

    heartbeat_seconds: float = 25
    expiring_seconds: float = 60
    """How long before its end a client hears that its ticket expires."""
    pulse_seconds: float = 0.5
    """How often each process asks Redis for withdrawn access, and whether it is still the same Redis."""
    beacon_seconds: float = 1
    """How often each process sends itself a message through each channel layer, to see that it still carries."""

    history_length: int = 5000
    """Events kept for each topic, at most: two of the largest saves, and what else happens."""
    history_bytes: int = 4 * 1024 * 1024
    """Bytes of events kept for each topic, at most (the newest event is kept in any case)."""
    history_seconds: int = 6 * 3600
    """How long a topic's events are kept after its newest."""
    replay_limit: int = 2500
    """Events that one resume may replay: one of the largest saves, and some more. Who missed more has to refetch."""
    replay_bytes: int = 1_000_000
    """Bytes of events that one resume may replay; below ``send_buffer_bytes``, or slow clients are closed by it."""

    send_buffer_bytes: int = 1024 * 1024
    """What a client that reads too slowly may have waiting before it is closed with 4101."""
    kernel_buffer_bytes: int = 128 * 1024
    """What may wait unsent in the kernel for one client before the service keeps the rest itself."""
    frame_bytes: int = 32 * 1024
    """The longest frame a client may send."""
    connections_per_user: int = 64
    connects_per_second_per_user: float = 2
    """In the long run; ``connections_per_user`` may come at once."""
    connections_per_address: int = 1000
    connects_per_second_per_address: float = 50
    """In the long run; ``connections_per_address`` may come at once."""
    topics_per_connection: int = 200
    subscribes_per_second: float = 10
    """Of one connection in the long run; twice ``topics_per_connection`` may come at once."""
    frames_per_second: float = 20
    """Of one connection in the long run; three times ``topics_per_connection`` may come at once."""
    http_connections: int = 4096
    """Connections that are neither a WebSocket nor a stream, of each kind: half open, HTTP between two requests, new to
    the bridge."""
    trusted_proxies: tuple[Network, ...] = parse_networks("127.0.0.0/8, ::1")
    """Whose X-Forwarded-For is believed."""
    cors_allowed_origins: tuple[str, ...] = _LOCAL_ORIGINS
    """Origins whose pages may read event streams; ``CORS_ALLOWED_ORIGINS``, as the API's."""

    handshake_seconds: float = 5
    """How long the opening of a connection may take, and how long its end."""
    ping_seconds: float = 20
    ping_timeout_seconds: float = 30
    """A client that answers no WebSocket ping for this long is gone."""
    http_idle_seconds: float = 75
    bridge_read_seconds: float = 15
    """How long a POST to the bridge may take to come, from its first byte to its last."""
    redis_timeout_seconds: float = 2

    drain_seconds: float = 10
    """After SIGTERM: the process ends when its clients have left, and after this long in any case."""
    drain_linger_seconds: float = 1
    """After SIGTERM: how long at least the process still answers that it is leaving."""
    reconnect_spread_seconds: float = 5
    """Clients of a leaving process are told to come back at times spread over this long."""


def load(environ: Mapping[str, str]) -> Settings:
    """
    Read the settings.

    Raises:
        ConfigurationError: something is missing, is no number, or is out of range.
    """
    redis_url = _url("REDIS_URL", _required(environ, "REDIS_URL"))
    return Settings(
        redis_url=redis_url,
        channel_layer_urls=_nodes(environ.get("CHANNEL_LAYER_URLS") or redis_url),
        broadcast_secret=_required(environ, "BROADCAST_SECRET"),
        ticket_secret=_required(environ, "TICKET_SECRET"),
        host=(environ.get("HOST") or "127.0.0.1").strip("[]"),  # of IPv6: as in URLs, or as sockets want it
        port=_number("WEBSOCKET_PORT", environ.get("WEBSOCKET_PORT") or "8080", int, highest=65535),
        log_level=_log_level(environ.get("LOG_LEVEL") or "INFO"),
        native=_switch("BROADCAST_NATIVE", environ.get("BROADCAST_NATIVE") or "on"),
        cache=environ.get("BROADCAST_CACHE") or _CACHE,
        cors_allowed_origins=_origins(environ.get("CORS_ALLOWED_ORIGINS") or ",".join(_LOCAL_ORIGINS)),
        **_proxies(environ),
        **_limits(environ),
    )


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise ConfigurationError(f"{name} is not set")
    return value


def _url(name: str, value: str) -> str:
    if urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
        raise ConfigurationError(f"{name} must begin with redis://, rediss:// or unix://")
    try:
        urlsplit(value).port  # noqa: B018
    except ValueError:
        raise ConfigurationError(f"{name} has a port that is no number") from None
    return value


def _nodes(text: str) -> tuple[str, ...]:
    nodes = tuple(_url("CHANNEL_LAYER_URLS", url.strip()) for url in text.split(",") if url.strip())
    if not nodes:
        raise ConfigurationError("CHANNEL_LAYER_URLS names no Redis")
    return nodes


def _log_level(value: str) -> str:
    if value.upper() not in _LOG_LEVELS:
        raise ConfigurationError(f"LOG_LEVEL must be one of {', '.join(_LOG_LEVELS)}")
    return value.upper()


def _switch(name: str, value: str) -> bool:
    if value.lower() not in {"on", "off"}:
        raise ConfigurationError(f"{name} must be on or off")
    return value.lower() == "on"


def _origins(text: str) -> tuple[str, ...]:
    found = tuple(origin.strip() for origin in text.split(",") if origin.strip())
    if not all(map(origins.is_origin, found)):
        raise ConfigurationError(f"CORS_ALLOWED_ORIGINS must be {origins.FORM}")
    return found


def _proxies(environ: Mapping[str, str]) -> dict[str, Any]:
    text = environ.get(_TRUSTED_PROXIES)
    if text is None:
        return {}
    try:
        return {"trusted_proxies": parse_networks(text)}
    except ValueError as problem:
        raise ConfigurationError(f"{_TRUSTED_PROXIES}: {problem}") from problem


def _limits(environ: Mapping[str, str]) -> dict[str, Any]:
    named = {f.name: f.type for f in fields(Settings) if f.type in (int, float) and f.name != "port"}
    present = {name: environ[f"BROADCAST_{name.upper()}"] for name in named if environ.get(f"BROADCAST_{name.upper()}")}
    return {
        name: _number(f"BROADCAST_{name.upper()}", text, int if named[name] is int else float)
        for name, text in present.items()
    }


def _number(
    name: str, text: str, kind: Callable[[str], int] | Callable[[str], float], *, highest: float = sys.float_info.max
) -> Any:
    try:
        value = kind(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be a number") from None
    if not 0 < value <= highest:
        raise ConfigurationError(f"{name} is out of range")
    return value
