"""The client of a check: it hears its user's topic, as a browser would, until one operation's end was told."""

import json
import threading
import time
from typing import Any, Final, Protocol

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from broadcast.contracts import events, frames

_SUBPROTOCOL: Final = Subprotocol(frames.SUBPROTOCOL)


class Unreachable(Exception):
    """The WebSocket does not open, or does not let the ticket in; the message says why."""


class Listener(Protocol):
    """Whatever hears a user's topic."""

    problem: str
    """Why it hears nothing any more; empty: it does."""

    def wait_for_end_of(self, operation_key: str, timeout_seconds: float) -> float | None:
        """Wait for the event of an operation's end; returns when it came (`time.time`), or None."""

    def close(self) -> None:
        """Leave."""


class SocketListener:
    """
    A connection to the broadcast service that hears the ticket's user, in a thread of its own.

    Raises:
        Unreachable: it cannot be opened, or nothing is heard on it.
    """

    def __init__(self, url: str, ticket: str, timeout_seconds: float) -> None:
        self.problem = ""
        self._heard: dict[str, float] = {}
        self._changed = threading.Condition()
        self._socket = _open(url, ticket, timeout_seconds)
        threading.Thread(target=self._listen, name="check", daemon=True).start()

    def wait_for_end_of(self, operation_key: str, timeout_seconds: float) -> float | None:
        with self._changed:
            self._changed.wait_for(lambda: operation_key in self._heard or self.problem, timeout_seconds)
            return self._heard.get(operation_key)

    def close(self) -> None:
        self._socket.close()

    def _listen(self) -> None:
        try:
            for message in self._socket:
                self._take(json.loads(message))
            self._end("The connection was closed.")
        except ConnectionClosed as closed:
            self._end(f"The connection was lost: {closed}.")

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == events.BATCH_COMPLETED:
            with self._changed:
                self._heard[frame["operationId"]] = time.time()
                self._changed.notify_all()

    def _end(self, problem: str) -> None:
        with self._changed:
            self.problem = problem
            self._changed.notify_all()


def _open(url: str, ticket: str, timeout_seconds: float) -> ClientConnection:
    headers = {"Authorization": f"Bearer {ticket}"}
    try:
        socket = connect(
            url,
            subprotocols=[_SUBPROTOCOL],
            additional_headers=headers,
            open_timeout=timeout_seconds,
            close_timeout=1,
            compression=None,
        )
    except (OSError, WebSocketException) as problem:
        raise Unreachable(f"{url} does not open: {problem}") from problem
    try:
        _be_let_in(socket, timeout_seconds)
    except (OSError, WebSocketException, Unreachable, ValueError, LookupError, TypeError) as problem:
        # Also of a server that speaks something else.
        socket.close()
        raise Unreachable(f"{url} opens, but does not subscribe: {problem}") from problem
    return socket


def _be_let_in(socket: ClientConnection, timeout_seconds: float) -> None:
    """Wait until the user's topic is heard: from then on nothing is missed."""
    while True:
        frame = json.loads(socket.recv(timeout_seconds))
        match frame["type"]:
            case "subscribed" | "resync":
                return
            case "closing" | "error":
                raise Unreachable(f"{frame['code']}, {frame.get('reason') or frame.get('message')}")
