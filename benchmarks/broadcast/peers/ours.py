"""CourseHub's broadcast service: one process, with tickets and signed posts, as in earnest."""

import os
import sys
from collections.abc import Mapping, Sequence

from benchmarks.broadcast import wire
from benchmarks.broadcast.peers.base import Peer
from benchmarks.broadcast.wire import Event, Opening
from broadcast.contracts import bridge, tickets, topics
from coursehub.stack import parts

_USER = 1
UNLIMITED = {
    "LOG_LEVEL": "WARNING",
    **{
        f"BROADCAST_{limit}": "1000000"
        for limit in (
            "CONNECTIONS_PER_USER",
            "CONNECTS_PER_SECOND_PER_USER",
            "CONNECTIONS_PER_ADDRESS",
            "CONNECTS_PER_SECOND_PER_ADDRESS",
            "TOPICS_PER_CONNECTION",
            "SUBSCRIBES_PER_SECOND",
            "FRAMES_PER_SECOND",
        )
    },
}
"""One address plays everybody here: limits on what a single one may do are out of the way."""


class CourseHub(Peer):
    """``python -m broadcast``. ``more`` is added to its environment."""

    name = "CourseHub"

    def __init__(self, services: Mapping[str, str], more: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._services, self._more = services, more or {}

    def command(self) -> list[str]:
        return [sys.executable, "-m", "broadcast"]

    def environment(self) -> Mapping[str, str]:
        names = ("REDIS_URL", "BROADCAST_SECRET", "TICKET_SECRET")
        given = {name: self._services[name] for name in names}
        return {"PATH": os.environ["PATH"], "WEBSOCKET_PORT": str(self.port), **given, **UNLIMITED, **self._more}

    def is_ready(self) -> bool:
        return parts.answers("127.0.0.1", self.port, "/readyz")

    def opening(self, number: int, topics: Sequence[str]) -> Opening:
        return self.joining(number, topics)

    def joining(
        self, number: int, names: Sequence[str], *, since: int | None = None, replay: int = 0, at: int = 0
    ) -> Opening:
        """
        Connect as the ``number``-th user, with a ticket for courses, and subscribe to them.

        ``since``: resume all from there, which has to bring ``replay`` events each. ``at``: the seq the ticket knows.
        """
        ticket = self._ticket(number, names, at)
        resumed = {} if since is None else {"since": since}
        frames = wire.client_frames(*({"type": "subscribe", "topic": topics.course(name), **resumed} for name in names))
        request = wire.upgrade("/ws/", {"Sec-WebSocket-Protocol": "coursehub.v1", "Authorization": f"Bearer {ticket}"})
        controls = 2 + len(names)  # welcome, subscribed to the user's own topic, and to each course
        return Opening(request, frames, controls, seen=since, replay=replay * len(names))

    def streaming(self, number: int, names: Sequence[str]) -> Opening:
        """Open an event stream of courses as the ``number``-th user."""
        headers = {"Authorization": f"Bearer {self._ticket(number, names, 0)}"}
        return Opening(wire.get(f"/events?topics={','.join(map(topics.course, names))}", headers))

    def signed(self, body: bytes) -> dict[str, str]:
        """Make the headers of a post to the bridge."""
        return bridge.signed_headers(body, secret=self._services["BROADCAST_SECRET"])

    def _ticket(self, number: int, names: Sequence[str], at: int) -> str:
        user = wire.topic(number, _USER)
        granted = {topics.user(user): 0} | {topics.course(name): at for name in names}
        return tickets.issue(secret=self._services["TICKET_SECRET"], user_id=user, seqs=granted)[0]

    def post(self, events: Sequence[Event]) -> bytes:
        posted = [{"topic": topics.course(event.topic), **event.envelope()} for event in events]
        body = wire.encode(posted[0] if len(posted) == 1 else {"events": posted})
        return wire.post(bridge.PATH, body, self.signed(body))
