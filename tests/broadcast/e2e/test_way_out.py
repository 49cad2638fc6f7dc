"""The way out, on real connections of a real process: by both send loops."""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from broadcast.contracts import topics
from tests.support.broadcast_process import Broadcast, Client, event, ticket
from tests.support.broadcast_valkey import Valkey


@pytest.fixture(params=["on", "off"], scope="module")
def service(request: pytest.FixtureRequest, shared_valkey: Valkey, tmp_path_factory) -> Iterator[Broadcast]:
    """A process with one of the loops."""
    directory: Path = tmp_path_factory.mktemp("way-out")
    made = Broadcast(
        shared_valkey.url,
        directory / "log",
        BROADCAST_NATIVE=request.param,
        BROADCAST_CACHE=directory / "cache",
        BROADCAST_CONNECTIONS_PER_USER=10_000,
        BROADCAST_CONNECTS_PER_SECOND=100_000,
    ).start()
    made.loop = {"on": "native", "off": "python"}[request.param]
    yield made
    made.stop()


def test_it_says_which_loop_sends(service: Broadcast):
    assert f'coursehub_send_loop{{loop="{service.loop}"}} 1.0' in service.get("/metrics")[1]
    assert [line["loop"] for line in service.log_lines() if line["message"] == "Sending"] == [service.loop]


async def test_nothing_is_compressed_even_for_a_client_that_offers_to(service: Broadcast):
    course = topics.course(uuid.uuid4())
    text = ticket(str(uuid.uuid4()), [course])
    async with connect(
        f"ws://127.0.0.1:{service.port}/ws/?ticket={text}", extensions=[ClientPerMessageDeflateFactory()]
    ) as connection:
        client = Client(connection)
        assert "sec-websocket-extensions" not in connection.response.headers
        await client.receive_until("subscribed")
        await client.subscribe(course)
        service.post(event(course, 1, title="x" * 5000))
        assert (await client.receive())["data"]["title"] == "x" * 5000


def test_an_answer_that_is_still_under_way_is_not_overtaken_by_the_handshake(service: Broadcast):
    text = ticket(str(uuid.uuid4()))
    requests = (
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer %s\r\n\r\n" % text.encode()
    )
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(requests)
        data = b""
        while b'"subscribed"' not in data:
            chunk = connection.recv(65536)
            assert chunk, data[-500:]
            data += chunk
    first, second = data.index(b"HTTP/1.1 200"), data.index(b"HTTP/1.1 101")
    assert first == 0
    assert first < data.index(b"coursehub_send_loop") < second < data.index(b'"welcome"') < data.index(b'"subscribed"')


async def test_connections_that_come_and_go_get_the_events_of_their_topics_only(service: Broadcast):
    courses = [topics.course(uuid.uuid4()) for _ in range(8)]
    seqs = dict.fromkeys(courses, 0)
    over = asyncio.Event()

    async def post() -> None:
        while not over.is_set():
            for course in courses:
                seqs[course] += 1
            await asyncio.to_thread(service.post, *(event(course, seqs[course], title="x" * 500) for course in courses))

    async def come_and_go(number: int) -> int:
        heard, course = 0, courses[number % len(courses)]
        for life in range(12):
            async with service.client(ticket(str(uuid.uuid4()), [course])) as client:
                began = await client.subscribe(course)
                frames = await client.receive_events(1 + life % 3)
                heard += len(frames)
                assert {topics.of_envelope(frame) for frame in frames} == {course}
                first = began["seq"] + 1
                assert [frame["seq"] for frame in frames] == list(range(first, first + len(frames)))
                if life % 2:
                    # Without a word, and with bytes for it under way.
                    client.socket.transport.abort()
        return heard

    posting = asyncio.create_task(post())
    heard = await asyncio.gather(*(come_and_go(number) for number in range(24)))
    over.set()
    await posting
    assert sum(heard) == 24 * 12 * 2


async def test_the_kernel_keeps_little_for_a_client_that_does_not_read(service: Broadcast):
    course = topics.course(uuid.uuid4())
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", service.port))
        await asyncio.to_thread(_subscribe, deaf, ticket(str(uuid.uuid4()), [course]), course)
        for batch in range(20):
            events = [event(course, batch + 1, title="x" * 30_000)]
            assert service.post(*events)[0] == 202
        # 600 KB are more than the kernel takes, and less than the service keeps.
        assert service.metric("coursehub_laggards") == 1
        assert service.metric("coursehub_connections_closed_total") == 0


async def test_a_client_that_stops_reading_is_given_up_and_the_others_hear_everything(service: Broadcast):
    course = topics.course(uuid.uuid4())
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", service.port))
        await asyncio.to_thread(_subscribe, deaf, ticket(str(uuid.uuid4()), [course]), course)
        async with service.client(ticket(str(uuid.uuid4()), [course])) as other:
            await other.subscribe(course)
            before = service.metric("coursehub_connections_closed_total")
            for batch in range(30):
                events = [event(course, batch * 10 + n + 1, title="x" * 30_000) for n in range(10)]
                assert service.post(*events)[0] == 202
                assert [frame["seq"] for frame in await other.receive_events(10)] == [e["seq"] for e in events]
            assert service.metric("coursehub_connections_closed_total") == before + 1
            assert 'coursehub_connections_closed_total{code="4101"}' in service.get("/metrics")[1]


def _subscribe(connection: socket.socket, text: str, course: str) -> None:
    connection.sendall(
        b"GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer %s\r\n\r\n" % text.encode()
    )
    frame = b'{"type":"subscribe","topic":"%s"}' % course.encode()
    connection.sendall(bytes([0x81, 0x80 | len(frame)]) + bytes(4) + frame)
    data = b""
    while data.count(b'"subscribed"') < 2:
        data += connection.recv(4096)
