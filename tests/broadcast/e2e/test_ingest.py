"""The bridge's own connections, against a real process: what HTTP allows, and what nobody should do."""

import asyncio
import contextlib
import http.client
import json
import os
import random
import socket
import sys
import time
from email.message import Message
from typing import BinaryIO, NamedTuple

import pytest

from broadcast.contracts import bridge
from tests.broadcast.e2e.conftest import Start
from tests.support.broadcast_process import BROADCAST_SECRET, Broadcast, Frame, event, ticket

pytestmark = pytest.mark.e2e


def request(*events: Frame, more: str = "", secret: str = BROADCAST_SECRET, version: str = "1.1") -> bytes:
    """Make a signed request."""
    body = json.dumps({"events": events}).encode()
    headers = bridge.signed_headers(body, secret=secret) | {"Host": "x", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /broadcast HTTP/{version}\r\n{lines}{more}\r\n".encode() + body


class Answer(NamedTuple):
    """What came back for one request."""

    status: int
    headers: Message
    body: bytes


def answers(connection: socket.socket, count: int) -> list[Answer]:
    """Read so many answers."""
    with connection.makefile("rb") as stream:
        return [_read_answer(stream) for _ in range(count)]


def _read_answer(stream: BinaryIO) -> Answer:
    status = int(stream.readline().split()[1])
    headers = http.client.parse_headers(stream)
    return Answer(status, headers, stream.read(int(headers["Content-Length"])))


def connect(broadcast: Broadcast) -> socket.socket:
    """Open a connection."""
    return socket.create_connection(("127.0.0.1", broadcast.port), timeout=10)


def is_cut_off(connection: socket.socket) -> bool:
    """Wait for the end of a connection that nothing more is to come on."""
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


def test_posts_sent_ahead_are_answered_in_order(broadcast: Broadcast, course: str):
    with connect(broadcast) as connection:
        connection.sendall(
            request(event(course, 1))
            + request(event(course, None, "upload-progress"))
            + request(event(course, 2), secret="another")
            + request(event(course, 3))
            + request(event(course, 2), event(course, 3))
            + request(event(course, 3))
        )
        got = [(a.status, json.loads(a.body)) for a in answers(connection, 6)]
    assert [status for status, _ in got] == [202, 202, 401, 409, 202, 202]
    assert got[3][1]["gaps"] == [{"topic": course, "expected": 2}]
    assert [body for status, body in got[4:]] == [{"accepted": 2, "duplicates": 0}, {"accepted": 0, "duplicates": 1}]


async def test_posts_sent_ahead_reach_clients_in_order(broadcast: Broadcast, user: str, course: str):
    async with broadcast.client(ticket(user, [course])) as client:
        await client.subscribe(course)
        with connect(broadcast) as connection:
            connection.sendall(b"".join(request(event(course, seq)) for seq in range(1, 201)))
            got = await asyncio.to_thread(answers, connection, 200)
        assert {answer.status for answer in got} == {202}
        assert [e["seq"] for e in await client.receive_events(200)] == list(range(1, 201))


def test_a_connection_may_ask_for_other_things_and_post_again(broadcast: Broadcast, course: str):
    connection = http.client.HTTPConnection("127.0.0.1", broadcast.port, timeout=10)
    seen = []
    for seq, path in ((1, "/healthz"), (2, "/nowhere"), (3, "/readyz")):
        body = json.dumps(event(course, seq)).encode()
        connection.request("POST", "/broadcast", body, bridge.signed_headers(body, secret=BROADCAST_SECRET))
        answer = connection.getresponse()
        seen.append((answer.status, json.loads(answer.read())))
        own = connection.sock
        connection.request("GET", path)
        answer = connection.getresponse()
        seen.append((answer.status, answer.read() and None))
        assert connection.sock is own, "the connection was kept"
    connection.close()
    taken = {"accepted": 1, "duplicates": 0}
    assert seen == [(202, taken), (200, None), (202, taken), (404, None), (202, taken), (200, None)]


def test_something_else_may_be_sent_ahead_with_a_post(broadcast: Broadcast, course: str):
    with connect(broadcast) as connection:
        connection.sendall(request(event(course, 1)) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [a.status for a in answers(connection, 2)] == [202, 200]


@pytest.mark.parametrize("begin", [b"P", b"POST /broadcas", b"POST /broadcast "])
def test_a_request_may_come_in_pieces(broadcast: Broadcast, course: str, begin: bytes):
    with connect(broadcast) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        whole = request(event(course, 1))
        for piece in (begin, whole[len(begin) : 100], whole[100:-5], whole[-5:]):
            connection.sendall(piece)
            time.sleep(0.02)
        assert answers(connection, 1)[0].status == 202


@pytest.mark.parametrize("begin", [b"P", b"POST /br"])
def test_what_only_begins_like_a_post_to_the_bridge_is_served_as_ever(broadcast: Broadcast, begin: bytes):
    with connect(broadcast) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        whole = b"POST /brood HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(begin)
        time.sleep(0.02)
        connection.sendall(whole[len(begin) :])
        assert answers(connection, 1)[0].status == 404


def test_whoever_asks_first_whether_to_go_on_is_told_so(broadcast: Broadcast, course: str):
    with connect(broadcast) as connection:
        head, body = request(event(course, 1), more="Expect: 100-continue\r\n").split(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert answers(connection, 1)[0].status == 202


def test_a_body_may_come_in_chunks(broadcast: Broadcast, course: str):
    connection = http.client.HTTPConnection("127.0.0.1", broadcast.port, timeout=10)
    for seq in (1, 2):
        body = json.dumps(event(course, seq)).encode()
        headers = bridge.signed_headers(body, secret=BROADCAST_SECRET)
        pieces = iter([body[:50], body[50:]])
        connection.request("POST", "/broadcast", pieces, headers, encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())) == (202, {"accepted": 1, "duplicates": 0})
    connection.close()


@pytest.mark.parametrize("options", [{"version": "1.0"}, {"more": "Connection: close\r\n"}])
def test_a_connection_is_closed_for_who_wants_that(broadcast: Broadcast, course: str, options: dict[str, str]):
    with connect(broadcast) as connection:
        connection.sendall(request(event(course, 1), **options))
        (answer,) = answers(connection, 1)
        assert (answer.status, answer.headers["Connection"]) == (202, "close")
        assert connection.recv(1) == b""


def test_who_has_said_everything_still_gets_the_answer(broadcast: Broadcast, course: str):
    with connect(broadcast) as connection:
        connection.sendall(request(event(course, 1)))
        connection.shutdown(socket.SHUT_WR)
        assert answers(connection, 1)[0].status == 202
        assert connection.recv(1) == b""


def test_what_is_no_request_is_refused_in_the_one_error_form(broadcast: Broadcast):
    with connect(broadcast) as connection:
        connection.sendall(b"POST /broadcast HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
        (answer,) = answers(connection, 1)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (400, "validation_error")
        assert answer.headers["Connection"] == "close"


def test_answers_have_a_date(broadcast: Broadcast, course: str):
    with connect(broadcast) as connection:
        connection.sendall(request(event(course, 1)))
        date = answers(connection, 1)[0].headers["Date"]
    assert abs(time.time() - time.mktime(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")) + time.timezone) < 5


def test_posts_that_never_end_keep_nobody_out_and_cut_no_sender_off(start: Start, course: str):
    broadcast = start(BROADCAST_HTTP_CONNECTIONS=3)
    with connect(broadcast) as sender, connect(broadcast) as forger, contextlib.ExitStack() as stack:
        sender.sendall(request(event(course, 1)))
        forger.sendall(request(event(course, 1), secret="another"))
        assert [answers(each, 1)[0].status for each in (sender, forger)] == [202, 401]
        half_sent = [stack.enter_context(connect(broadcast)) for _ in range(4)]
        for each in half_sent:
            each.sendall(b"POST /broadcast HTTP/1.1\r\nHost: x\r\n")
        assert is_cut_off(forger) and is_cut_off(half_sent[0])
        sender.sendall(request(event(course, 2)))
        half_sent[-1].sendall(b"\r\n")
        assert [answers(each, 1)[0].status for each in (sender, half_sent[-1])] == [202, 401]
    assert broadcast.metric("coursehub_limited_total") == 2


@pytest.mark.parametrize(
    "begin", [b"POST /broadcast HTTP/1.1\r\nX: ", b"", request()[:-1]], ids=["head", "none", "body"]
)
def test_a_post_that_does_not_come_to_its_end_is_cut_off(start: Start, begin: bytes):
    broadcast = start(BROADCAST_BRIDGE_READ_SECONDS=1, BROADCAST_HTTP_IDLE_SECONDS=1)
    with connect(broadcast) as connection:
        started = time.monotonic()
        connection.sendall(begin or request())
        if not begin:
            assert answers(connection, 1)[0].status == 202
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(100):
                pass
        assert 0.9 < time.monotonic() - started < 4


def test_trickling_bytes_buys_no_time(start: Start):
    broadcast = start(BROADCAST_BRIDGE_READ_SECONDS=1)
    with connect(broadcast) as connection:
        started = time.monotonic()
        connection.sendall(b"POST /broadcast HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            while time.monotonic() < started + 10:
                connection.sendall(b"X: y\r\n")
                time.sleep(0.1)
        assert time.monotonic() - started < 4


def test_a_client_that_never_reads_its_answers_is_held_and_cut_off(start: Start, course: str):
    broadcast = start(BROADCAST_BRIDGE_READ_SECONDS=1)
    with connect(broadcast) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.settimeout(8)
        bad = request(event(course, 1), secret="another")
        with contextlib.suppress(ConnectionError):
            while True:
                lazy.sendall(bad * 100)
        assert broadcast.post(event(course, 1))[0] == 202


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_connections_come_and_go_and_leave_nothing_behind(broadcast: Broadcast, course: str):
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{broadcast.process.pid}/fd"))

    broadcast.post(event(course, 1))
    before = descriptors()
    for number in range(300):
        with connect(broadcast) as connection:
            match number % 4:
                case 0:
                    connection.sendall(request(event(course, 1)))
                    answers(connection, 1)
                case 1:
                    connection.sendall(request(event(course, 1)))
                case 2:
                    connection.sendall(request(event(course, 1)) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    answers(connection, 2)
                case _:
                    connection.sendall(request(event(course, 1))[:50])
    deadline = time.monotonic() + 5
    while descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert descriptors() <= before
    assert broadcast.post(event(course, 2)) == (202, {"accepted": 1, "duplicates": 0})


def test_whatever_is_sent_the_process_lives_and_logs_no_crash(broadcast: Broadcast, course: str):
    generator = random.Random(7)
    for _ in range(400):
        data = bytearray(request(event(course, 1)) * 2)
        for _ in range(generator.randint(1, 6)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        with connect(broadcast) as connection:
            connection.sendall(bytes(data[: generator.randrange(len(data))]))
            if generator.random() < 0.3:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert broadcast.post(event(course, 1))[0] == 202
    assert [line for line in broadcast.log_lines() if line["level"] in ("ERROR", "CRITICAL")] == []
    assert "Traceback" not in broadcast.log_path.read_text()
