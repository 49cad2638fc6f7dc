"""What a delivery to an event stream costs, beside one to a WebSocket: both read by the same loop, here."""

import contextlib
import http.client
import select
import socket
import time
from collections.abc import Iterator, Sequence

from benchmarks.broadcast import wire
from benchmarks.broadcast.audience import KINDS
from benchmarks.broadcast.bench import Bench
from benchmarks.broadcast.loader import LoadFailed
from benchmarks.broadcast.peers.ours import CourseHub
from benchmarks.broadcast.wire import Event
from broadcast.contracts import bridge, topics

CLIENTS = 1_000
WEBSOCKETS, STREAMS = "CourseHub, WebSockets", "CourseHub, event streams"
ALONE = f"event streams: {CLIENTS:,} clients on one topic, one event a POST"
BURSTS = f"event streams: {CLIENTS:,} clients on one topic, 32 events a POST"
_MARK = b'"n":"'
_READY = b'"subscribed"'
_AT_ONCE = 50
_PATIENCE_SECONDS = 60


def streams(bench: Bench) -> None:
    """Measure one topic with 1,000 event streams, and with 1,000 WebSockets."""
    for scenario, batch in ((ALONE, 1), (BURSTS, 32)):
        cost = {name: _measure(bench, name, batch) for name in (WEBSOCKETS, STREAMS)}
        for name, microseconds in cost.items():
            bench.figures.note(scenario, "CPU a delivery", name, microseconds, "µs")
            bench.figures.note(scenario, "CPU to the WebSockets'", name, microseconds / cost[WEBSOCKETS], "×")


class Crowd:
    """Clients that count what they hear, and nothing else."""

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._tails: dict[int, bytes] = {}
        for start in range(0, len(requests), _AT_ONCE):
            some = requests[start : start + _AT_ONCE]
            for request in some:
                self._open(port, request)
            self.read(_READY, 2 * len(some))

    def _open(self, port: int, request: bytes) -> None:
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(request)
        self._poll.register(client.fileno(), select.EPOLLIN)
        self._sockets[client.fileno()] = client

    def close(self) -> None:
        """Leave."""
        self._poll.close()
        for client in self._sockets.values():
            client.close()

    def read(self, mark: bytes, count: int) -> None:
        """
        Read until a mark has come so often, over all.

        Raises:
            LoadFailed: it does not come, or a client was closed.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while count > 0:
            if time.monotonic() > deadline:
                raise LoadFailed(f"{count} deliveries never came")
            for descriptor, _ in self._poll.poll(1):
                count -= self._read_one(descriptor, mark)
        if count:
            raise LoadFailed("more came than was sent")

    def _read_one(self, descriptor: int, mark: bytes) -> int:
        try:
            data = self._sockets[descriptor].recv(2**18)
        except ConnectionError:
            data = b""
        if not data:
            raise LoadFailed("a client was closed")
        seen = self._tails.get(descriptor, b"") + data
        self._tails[descriptor] = seen[-len(mark) + 1 :]
        return seen.count(mark)


def _measure(bench: Bench, name: str, batch: int) -> float:
    """Give the CPU of a delivery, in microseconds."""
    # These clients answer no pings.
    topic, peer = wire.topic(0, next(KINDS)), bench.ours({"BROADCAST_PING_SECONDS": "1000"})
    make = peer.streaming if name == STREAMS else peer.joining
    openings = [make(number, [topic]) for number in range(CLIENTS)]
    with peer, _crowd(peer.port, [opening.request + opening.frames for opening in openings]) as crowd:
        bridge_ = http.client.HTTPConnection("127.0.0.1", peer.port)
        with contextlib.closing(bridge_):
            _post(peer, bridge_, crowd, topic, first=1, batch=batch)
            events, cpu, end = batch, peer.cpu_seconds(), time.monotonic() + bench.effort.seconds
            while time.monotonic() < end:
                _post(peer, bridge_, crowd, topic, first=events + 1, batch=batch)
                events += batch
            return (peer.cpu_seconds() - cpu) / ((events - batch) * CLIENTS) * 1e6


@contextlib.contextmanager
def _crowd(port: int, requests: Sequence[bytes]) -> Iterator[Crowd]:
    crowd = Crowd(port, requests)
    try:
        yield crowd
    finally:
        crowd.close()


def _post(peer: CourseHub, to: http.client.HTTPConnection, crowd: Crowd, topic: str, *, first: int, batch: int) -> None:
    events = [Event(topic, seq, seq) for seq in range(first, first + batch)]
    body = wire.encode({"events": [{"topic": topics.course(e.topic), **e.envelope()} for e in events]})
    to.request("POST", bridge.PATH, body, peer.signed(body))
    answer = to.getresponse()
    if answer.status != 202:
        raise LoadFailed(f"{peer.name} answered {answer.status}: {answer.read(500)!r}")
    answer.read()
    crowd.read(_MARK, batch * CLIENTS)
