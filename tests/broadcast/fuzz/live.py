"""A running service, something to throw at it, and a healthy client that looks on."""

import contextlib
import json
import socket
import uuid
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from broadcast.contracts import bridge, topics
from tests.support.broadcast_process import BROADCAST_SECRET, Broadcast, event, ticket
from tests.support.broadcast_valkey import Valkey

_UPGRADE = (
    "GET /ws/?ticket={} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_UNLIMITED = {
    "BROADCAST_CONNECTIONS_PER_USER": 1_000_000,
    "BROADCAST_CONNECTS_PER_SECOND_PER_USER": 1_000_000,
    "BROADCAST_CONNECTIONS_PER_ADDRESS": 1_000_000,
    "BROADCAST_CONNECTS_PER_SECOND_PER_ADDRESS": 1_000_000,
}
_PATIENCE_SECONDS = 0.01


class Live:
    """``python -m broadcast`` on a Valkey of its own, with one client that must not notice anything."""

    def __init__(self, folder: Path) -> None:
        self._valkey = Valkey().start()
        self.service = Broadcast(self._valkey.url, folder / "broadcast.log", **_UNLIMITED, LOG_LEVEL="WARNING").start()
        self._user, self._seq = str(uuid.uuid4()), 0
        self._ticket = ticket(self._user)
        headers = {"Authorization": f"Bearer {self._ticket}"}
        self._open = contextlib.ExitStack()
        self._healthy = self._open.enter_context(
            connect(f"ws://127.0.0.1:{self.service.port}/ws/", additional_headers=headers, ping_interval=None)
        )
        self._receive("subscribed")

    def throw(self, wire: bytes) -> None:
        """Send bytes on a connection of their own, read what comes at once, and hang up."""
        with contextlib.suppress(OSError), self._dial() as dialled:
            dialled.sendall(wire)
            dialled.recv(65536)

    def throw_frames(self, wire: bytes) -> None:
        """Send bytes on a WebSocket that is open, read what comes at once, and hang up."""
        with contextlib.suppress(OSError), self._dial() as dialled:
            dialled.settimeout(5)
            dialled.sendall(_UPGRADE.format(self._ticket).encode())
            assert dialled.recv(12).startswith(b"HTTP/1.1 101"), "a healthy handshake was refused"
            dialled.settimeout(_PATIENCE_SECONDS)
            dialled.sendall(wire)
            dialled.recv(65536)

    def ask_for_stream(self, given: tuple[str, bytes]) -> None:
        """Ask for an event stream, read how the answer begins, and hang up."""
        query, last_event_id = given
        lines = [f"GET /events?{query} HTTP/1.1", "Host: x", f"Authorization: Bearer {self._ticket}"]
        with self._dial() as dialled:
            dialled.settimeout(5)
            dialled.sendall("\r\n".join(lines).encode() + b"\r\nLast-Event-ID: " + last_event_id + b"\r\n\r\n")
            status = dialled.recv(12)
            assert status in (b"HTTP/1.1 200", b"HTTP/1.1 400", b"HTTP/1.1 403"), status

    def post(self, body: bytes) -> int:
        """Post a body, signed, to the bridge."""
        headers = bridge.signed_headers(body, secret=BROADCAST_SECRET)
        status, _, answer = self.service.request("POST", bridge.PATH, body, headers)
        assert (status == 202) == ("accepted" in json.loads(answer))
        return status

    def must_serve(self) -> None:
        """See that the healthy client is still answered, and still hears what is posted."""
        self._seq += 1
        assert self.service.post(event(topics.user(self._user), self._seq))[0] == 202
        assert self._receive("chapter-update-complete")["seq"] == self._seq
        assert self.service.process is not None
        assert self.service.process.poll() is None

    def complaints(self) -> list[str]:
        """List what the service logged as a failure of its own."""
        text = self.service.log_path.read_text()
        return [line for line in text.splitlines() if "Traceback" in line or '"CRITICAL"' in line or '"ERROR"' in line]

    def close(self) -> None:
        """End."""
        self._open.close()
        self.service.stop()
        self._valkey.close()

    def _dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.service.port), timeout=_PATIENCE_SECONDS)

    def _receive(self, type_: str) -> dict[str, Any]:
        while True:
            frame: dict[str, Any] = json.loads(self._healthy.recv(10))
            if frame["type"] == type_:
                return frame
