"""The adapter to the broadcast service: signed POSTs over one kept-alive connection."""

import http.client
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from broadcast.contracts import bridge as contract

TIMEOUT_SECONDS = 1.0
_PATIENCE_SECONDS = 0.5
"""How long the service may take to say that it is ready."""


class BridgeError(Exception):
    """The broadcast service did not take a batch."""


class BridgeAway(BridgeError):
    """It did not answer, or said that it cannot take anything now."""


class Gaps(BridgeError):
    """It lacks earlier events; ``expected`` maps topics to the seq it wants next."""

    def __init__(self, expected: dict[str, int]) -> None:
        self.expected = expected
        super().__init__(f"The broadcast service expects {expected}")


class Refused(BridgeError):
    """It will never take the event at ``index``, or (None) the batch as it is."""

    def __init__(self, index: int | None, reason: str) -> None:
        self.index, self.reason = index, reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An encoded event and its topic; ``topic`` None: a control message, which names its own."""

    topic: str | None
    body: str


class Bridge(Protocol):
    """Whatever takes events to the broadcast service."""

    def post(self, events: Sequence[Outgoing]) -> None:
        """
        Hand over a batch; returns once it is in the shared history.

        Raises:
            BridgeAway, Gaps, Refused: nothing of the batch was taken.
        """


class _InOnePacket(http.client.HTTPConnection):
    """Sends headers and body by one write: two would wake the other side twice."""

    _body: bytes = b""

    def endheaders(self, message_body: Any = None, *, encode_chunked: bool = False) -> None:
        self._body = message_body or b""
        super().endheaders(encode_chunked=encode_chunked)

    def send(self, data: Any) -> None:
        super().send(data + self._body)
        self._body = b""


def _connection(url: SplitResult, timeout_seconds: float) -> http.client.HTTPConnection:
    """Make a connection to the service at a URL, by TLS or not."""
    kind = http.client.HTTPSConnection if url.scheme == "https" else _InOnePacket
    return kind(str(url.hostname), url.port, timeout=timeout_seconds)


def _path(url: SplitResult, path: str) -> str:
    """Name a path of the service, which may live below one of its own."""
    return url.path.rstrip("/") + path


class HttpBridge:
    """The real bridge. Not for use by two threads at once."""

    def __init__(self, url: str, secret: str) -> None:
        self._url, self._secret = urlsplit(url), secret
        self._connection: http.client.HTTPConnection | None = None

    def post(self, events: Sequence[Outgoing]) -> None:
        status, answer = self._exchange(batch_body(events))
        if status == 202:
            return
        if status == 409:
            raise _gaps(answer)
        if status in (400, 413):
            raise _refusal(answer, status)
        raise BridgeAway(f"status {status}")

    def _exchange(self, body: bytes) -> tuple[int, dict[str, Any]]:
        fresh = self._connection is None
        try:
            return self._send(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            # The other side closes idle connections whenever it likes: only a new connection proves that it is away.
            if fresh or isinstance(error, TimeoutError):
                raise BridgeAway(repr(error)) from error
        return self._exchange(body)

    def _send(self, body: bytes) -> tuple[int, dict[str, Any]]:
        if self._connection is None:
            self._connection = _connection(self._url, TIMEOUT_SECONDS)
        headers = {"Content-Type": "application/json", **contract.signed_headers(body, secret=self._secret)}
        self._connection.request("POST", _path(self._url, contract.PATH), body, headers)
        response = self._connection.getresponse()
        raw = response.read()
        answer = json.loads(raw) if raw and response.status in (202, 400, 409, 413) else {}
        return response.status, answer if isinstance(answer, dict) else {}

    def close(self) -> None:
        """Drop the connection; the next POST opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _gaps(answer: dict[str, Any]) -> BridgeError:
    """Read a 409; one that names no gaps comes from someone else on the way."""
    gaps = answer.get("gaps")
    named = [gap for gap in gaps if isinstance(gap, dict)] if isinstance(gaps, list) else []
    expected = {gap.get("topic"): gap.get("expected") for gap in named}
    if not expected or not all(isinstance(t, str) and type(seq) is int for t, seq in expected.items()):
        return BridgeAway("status 409 without gaps")
    return Gaps(expected)  # type: ignore[arg-type]


def _refusal(answer: dict[str, Any], status: int) -> Refused:
    error = answer.get("error")
    said = error if isinstance(error, dict) else {}
    index = said.get("index")
    is_one = status == 400 and type(index) is int and index >= 0
    return Refused(index if is_one else None, str(said.get("message") or f"status {status}"))


def batch_body(events: Sequence[Outgoing]) -> bytes:
    """Encode a batch as the bridge wants it, each event with its topic."""
    return ('{"events":[' + ",".join(_with_topic(event) for event in events) + "]}").encode()


def _with_topic(event: Outgoing) -> str:
    return event.body if event.topic is None else f'{{"topic":"{event.topic}",{event.body[1:]}'


_local = threading.local()


def of_this_thread() -> Bridge:
    """Give the thread its own connection to the broadcast service."""
    if not hasattr(_local, "bridge"):
        _local.bridge = HttpBridge(settings.BROADCAST_URL, settings.BROADCAST_SECRET)
    bridge: Bridge = _local.bridge
    return bridge


def answers() -> None:
    """Check that the broadcast service is ready; raises when it is not."""
    url = urlsplit(settings.BROADCAST_URL)
    connection = _connection(url, _PATIENCE_SECONDS)
    try:
        connection.request("GET", _path(url, "/readyz"))
        if connection.getresponse().status != 200:
            raise BridgeAway
    finally:
        connection.close()
