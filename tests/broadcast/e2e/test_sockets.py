"""The WebSocket protocol against a real process, with a client that nobody here wrote."""

import asyncio
import json
import socket
import time
import uuid

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from broadcast.contracts import tickets, topics
from tests.support.broadcast_process import TICKET_SECRET, Broadcast, Client, event, revocation, ticket

pytestmark = pytest.mark.e2e


async def test_a_client_is_welcomed_and_hears_its_own_topic(broadcast: Broadcast, user: str, course: str):
    async with broadcast.client(ticket(user, [course])) as client:
        assert client.welcome["type"] == "welcome"
        assert client.welcome["userId"] == user
        assert set(client.welcome["topics"]) == {topics.user(user), course}
        assert client.welcome["heartbeatSeconds"] == 25
        assert client.welcome["expiresAt"] > time.time() * 1000
        assert client.begun == {
            "type": "subscribed",
            "topic": topics.user(user),
            "seq": 0,
            "recovered": None,
            "replayed": 0,
        }
        assert client.socket.subprotocol == "coursehub.v1"


async def test_an_event_arrives_without_its_topic_and_otherwise_as_posted(broadcast: Broadcast, user: str, course: str):
    async with broadcast.client(ticket(user, [course])) as client:
        assert (await client.subscribe(course, 0))["recovered"] is True
        posted = event(course, 1, newTitle="Überblick \U0001f600")
        assert broadcast.post(posted) == (202, {"accepted": 1, "duplicates": 0})
        received = await client.receive()
        del posted["topic"]
        assert received == posted
        assert list(received) == list(posted)


@pytest.mark.parametrize("way", ["header", "subprotocol", "query"])
async def test_a_ticket_may_come_three_ways(broadcast: Broadcast, user: str, way: str):
    text = ticket(user)
    ways = {
        "header": ("", {"additional_headers": {"Authorization": f"Bearer {text}"}}),
        "subprotocol": ("", {"subprotocols": ["coursehub.v1", f"ticket.{text}"]}),
        "query": (f"?ticket={text}", {}),
    }
    query, options = ways[way]
    async with connect(f"ws://127.0.0.1:{broadcast.port}/ws/{query}", **options) as socket:
        assert json.loads(await socket.recv())["userId"] == user
        assert socket.subprotocol == ("coursehub.v1" if way == "subprotocol" else None)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, 4001),
        ("", 4001),
        ("garbage", 4001),
        (ticket(str(uuid.uuid4()), secret="somebody else's secret, long enough too"), 4001),
        (ticket(str(uuid.uuid4()), now_ms=1), 4002),
    ],
    ids=["none", "empty", "garbage", "forged", "expired"],
)
async def test_without_a_valid_ticket_the_close_code_says_so(broadcast: Broadcast, text: str | None, code: int):
    headers = {} if text is None else {"Authorization": f"Bearer {text}"}
    async with broadcast.client("", greet=False, additional_headers=headers) as client:
        last, close_code = await client.closing()
        assert (last["type"], last["code"], close_code) == ("closing", code, code)


async def test_resume_replays_exactly_what_was_missed_and_goes_on_live(broadcast: Broadcast, user: str, course: str):
    broadcast.post(*(event(course, seq) for seq in range(1, 6)))
    async with broadcast.client(ticket(user, {course: 5})) as client:
        answer = await client.subscribe(course, 2)
        assert answer == {"type": "subscribed", "topic": course, "seq": 5, "recovered": True, "replayed": 3}
        broadcast.post(event(course, 6))
        assert [e["seq"] for e in await client.receive_events(4)] == [3, 4, 5, 6]


async def test_the_user_topic_is_resumed_by_the_url(broadcast: Broadcast, user: str):
    own = topics.user(user)
    broadcast.post(*(event(own, seq) for seq in (1, 2, 3)))
    async with broadcast.client(ticket(user), since=1) as client:
        assert client.begun == {"type": "subscribed", "topic": own, "seq": 3, "recovered": True, "replayed": 2}
        assert [e["seq"] for e in await client.receive_events(2)] == [2, 3]


@pytest.mark.parametrize("since", ["-1", "1.5", "x", "%00", "99999999999999999999"])
async def test_a_since_in_the_url_that_is_no_number_breaks_the_protocol(broadcast: Broadcast, user: str, since: str):
    url = f"ws://127.0.0.1:{broadcast.port}/ws/?since={since}"
    async with connect(url, additional_headers={"Authorization": f"Bearer {ticket(user)}"}) as socket:
        assert (await Client(socket).closing())[1] == 4004


async def test_subscribing_again_does_the_same_again(broadcast: Broadcast, user: str, course: str):
    broadcast.post(*(event(course, seq) for seq in (1, 2)))
    async with broadcast.client(ticket(user, {course: 2})) as client:
        for _ in range(2):
            assert (await client.subscribe(course, 0))["replayed"] == 2
            assert [e["seq"] for e in await client.receive_events(2)] == [1, 2]
        broadcast.post(event(course, 3))
        assert (await client.receive_events(1))[0]["seq"] == 3


async def test_resync_says_what_is_missing_and_once_refetched_the_subscription_stands(
    broadcast: Broadcast, user: str, course: str
):
    broadcast.post(event(course, 7), event(course, 8))
    async with broadcast.client(ticket(user, {course: 8})) as client:
        lost = await client.subscribe(course, 2)
        assert lost == {"type": "resync", "topic": course, "seq": 8, "reason": "history_lost"}
        broadcast.post(event(course, 9))
        assert (await client.receive_events(1))[0]["seq"] == 9
        assert (await client.subscribe(course, 9))["type"] == "subscribed"


async def test_a_client_ahead_of_the_history_is_believed_once_it_has_refetched(
    broadcast: Broadcast, user: str, course: str
):
    broadcast.post(event(course, 1))
    async with broadcast.client(ticket(user, {course: 1})) as client:
        ahead = await client.subscribe(course, 3)
        assert ahead == {"type": "resync", "topic": course, "seq": 1, "reason": "ahead"}
        begun = await client.subscribe(course, 3)
        assert begun == {"type": "subscribed", "topic": course, "seq": 3, "recovered": True, "replayed": 0}
        broadcast.post(*(event(course, seq) for seq in (2, 3, 4)))
        assert (await client.receive_events(1))[0]["seq"] == 4


async def test_somebody_elses_topic_is_refused_and_the_connection_stays(broadcast: Broadcast, user: str, course: str):
    stranger = topics.user(uuid.uuid4())
    async with broadcast.client(ticket(user)) as client:
        for topic in (course, stranger):
            answer = await client.subscribe(topic)
            assert (answer["type"], answer["code"]) == ("error", "permission_denied")
        for topic in ("course:1", "course:" + "x" * 36, "\u0000", "video:" + str(uuid.uuid4())):
            assert (await client.subscribe(topic))["code"] == "invalid_topic"
        broadcast.post(event(course, 1), event(stranger, 1))
        await client.send("ping")
        assert await client.receive() == {"type": "pong"}


async def test_a_subscribe_may_bring_its_own_ticket(broadcast: Broadcast, user: str, course: str):
    async with broadcast.client(ticket(user)) as client:
        assert (await client.subscribe(course, ticket=ticket(user, [course])))["type"] == "subscribed"
        broadcast.post(event(course, 1))
        assert (await client.receive_events(1))[0]["seq"] == 1


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda user, course: ticket(str(uuid.uuid4()), [course]), "foreign_ticket"),
        (lambda user, course: ticket(user, [course], now_ms=1), "expired_ticket"),
        (lambda user, course: ticket(user, [course], secret="x" * 40), "invalid_ticket"),
        (lambda user, course: "garbage", "invalid_ticket"),
    ],
)
async def test_a_ticket_that_does_not_count_is_an_error_in_subscribe_and_refresh(
    broadcast: Broadcast, user: str, course: str, make, code
):
    async with broadcast.client(ticket(user)) as client:
        assert (await client.subscribe(course, ticket=make(user, course)))["code"] == code
        await client.send("refresh", ticket=make(user, course))
        assert (await client.receive())["code"] == code
        await client.send("ping")
        assert await client.receive() == {"type": "pong"}


async def test_refresh_takes_topics_that_the_new_ticket_lacks(broadcast: Broadcast, user: str, course: str):
    async with broadcast.client(ticket(user, [course])) as client:
        await client.subscribe(course)
        text, issued = tickets.issue(
            secret=TICKET_SECRET, user_id=user, seqs={topics.user(user): 0}, now_ms=int(time.time() * 1000) + 5000
        )
        await client.send("refresh", ticket=text)
        assert await client.receive() == {
            "type": "refreshed",
            "expiresAt": issued.expires_at_ms,
            "topics": [topics.user(user)],
        }
        assert await client.receive() == {"type": "unsubscribed", "topic": course, "code": "not_in_ticket"}


async def test_unsubscribed_means_that_nothing_comes(broadcast: Broadcast, user: str, course: str):
    async with broadcast.client(ticket(user, [course])) as client:
        await client.subscribe(course)
        await client.send("unsubscribe", topic=course)
        assert await client.receive() == {"type": "unsubscribed", "topic": course}
        broadcast.post(event(course, 1))
        await client.send("ping")
        assert await client.receive() == {"type": "pong"}


async def test_access_withdrawn_ends_one_topic_within_a_second_and_the_others_go_on(
    broadcast: Broadcast, user: str, course: str
):
    old = ticket(user, [course])
    async with broadcast.client(old) as client:
        await client.subscribe(course)
        started = time.monotonic()
        assert broadcast.post(revocation(user, course, int(time.time() * 1000)))[0] == 202
        assert await client.receive() == {"type": "unsubscribed", "topic": course, "code": "access_withdrawn"}
        assert time.monotonic() - started < 1
        broadcast.post(event(course, 1), event(topics.user(user), 1))
        assert (await client.receive())["userId"] == user
        assert (await client.subscribe(course))["code"] == "permission_denied"
        assert (await client.subscribe(course, ticket=old))["code"] == "permission_denied"
        newer = ticket(user, {course: 1}, now_ms=int(time.time() * 1000) + 1000)
        assert (await client.subscribe(course, 0, ticket=newer))["type"] == "subscribed"
    async with broadcast.client(old) as client:
        assert course not in client.welcome["topics"]


async def test_a_disabled_user_is_closed_and_cannot_come_back_with_an_old_ticket(broadcast: Broadcast, user: str):
    old = ticket(user)
    async with broadcast.client(old) as client:
        broadcast.post(revocation(user, None, int(time.time() * 1000)))
        last, code = await client.closing()
        assert (last["code"], last["retryAfterMs"], code) == (4003, None, 4003)
    async with broadcast.client(old, greet=False) as client:
        assert (await client.closing())[1] == 4003


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "{",
        "[]",
        '"subscribe"',
        "null",
        "{}",
        '{"type":"dance"}',
        '{"type":["subscribe"]}',
        '{"type":"subscribe"}',
        '{"type":"subscribe","topic":5}',
        '{"type":"subscribe","topic":"course:x","since":"5"}',
        '{"type":"subscribe","topic":"course:x","since":-1}',
        '{"type":"subscribe","topic":"course:x","since":1e400}',
        '{"type":"subscribe","topic":"course:x","since":true}',
        '{"type":"subscribe","topic":"course:x","since":NaN}',
        '{"type":"refresh","ticket":null}',
        "\u0000",
        "[" * 20000,
        '{"a":' * 5000,
        '{"type":"subscribe","topic":"course:x","since":' + "9" * 5000 + "}",
    ],
)
async def test_garbage_breaks_the_protocol(broadcast: Broadcast, user: str, garbage: str):
    async with broadcast.client(ticket(user)) as client:
        await client.socket.send(garbage)
        last, code = await client.closing()
        assert (last["type"], last["code"], code) == ("closing", 4004, 4004)


async def test_a_binary_frame_breaks_the_protocol(broadcast: Broadcast, user: str):
    async with broadcast.client(ticket(user)) as client:
        await client.socket.send(b'{"type":"ping"}')
        assert (await client.closing())[1] == 4004


def closed_with(process: Broadcast, code: int) -> int:
    """Read how many connections were closed with a code."""
    name = f'coursehub_connections_closed_total{{code="{code}"}} '
    return sum(int(float(line.removeprefix(name))) for line in process.get("/metrics")[1].splitlines() if name in line)


async def test_a_frame_of_ten_megabytes_is_refused_by_its_length(broadcast: Broadcast, user: str):
    async with broadcast.client(ticket(user)) as client:
        sending = asyncio.create_task(client.socket.send("x" * 10_000_000))
        assert (await client.closing())[1] == 1009
        await asyncio.wait([sending])
        assert sending.exception() is None or isinstance(sending.exception(), ConnectionClosed)
    assert closed_with(broadcast, 1009) == 1


async def test_text_that_is_not_utf8_is_refused(broadcast: Broadcast, user: str):
    async with broadcast.client(ticket(user)) as client:
        await client.socket.send(b"\xff\xfe", text=True)
        assert (await client.closing())[1] == 1007
    assert closed_with(broadcast, 1007) == 1


async def test_a_frame_of_no_known_kind_is_refused(broadcast: Broadcast, user: str):
    async with broadcast.client(ticket(user)) as client:
        client.socket.transport.write(b"\x83\x80" + bytes(4))
        assert (await client.closing())[1] == 1002
    assert closed_with(broadcast, 1002) == 1


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        pytest.param(b"\x03", 1002, id="half a code"),
        pytest.param(b"\x03\xed", 1002, id="a code that is never sent"),
        pytest.param(b"\x03\xe8\xff", 1007, id="a reason that is not UTF-8"),
    ],
)
async def test_an_end_that_is_itself_a_breach_is_answered_too(
    broadcast: Broadcast, user: str, payload: bytes, code: int
):
    before = closed_with(broadcast, code)
    async with broadcast.client(ticket(user)) as client:
        client.socket.transport.write(bytes([0x88, 0x80 | len(payload)]) + bytes(4) + payload)
        assert (await client.closing())[1] == code
    assert closed_with(broadcast, code) == before + 1


async def test_a_client_may_be_silent(broadcast: Broadcast, user: str, course: str):
    async with broadcast.client(ticket(user, [course])) as client:
        await client.subscribe(course)
        await asyncio.sleep(1)
        broadcast.post(event(course, 1))
        assert (await client.receive_events(1))[0]["seq"] == 1


def test_a_subprotocol_that_is_not_ascii_is_a_bad_request(broadcast: Broadcast):
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    upgrade = f"GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}"
    with socket.create_connection(("127.0.0.1", broadcast.port), timeout=10) as client:
        client.sendall(f"{upgrade}Sec-WebSocket-Protocol: coursehub.v1, é\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")
    assert "ERROR" not in {line["level"] for line in broadcast.log_lines()}


@pytest.mark.parametrize(("path", "answer"), [("/ws/", b"101"), ("/events", b"200")])
def test_a_target_may_say_the_host(broadcast: Broadcast, user: str, path: str, answer: bytes):
    key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    upgrade = f"Upgrade: websocket\r\nConnection: Upgrade\r\n{key}" if path == "/ws/" else ""
    with socket.create_connection(("127.0.0.1", broadcast.port), timeout=10) as client:
        client.sendall(f"GET http://x{path}?ticket={ticket(user)} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode())
        heard = b""
        while b'"subscribed"' not in heard:
            data = client.recv(4096)
            assert data, heard
            heard += data
    assert heard.startswith(b"HTTP/1.1 " + answer)


@pytest.mark.parametrize("path", ["/", "/ws", "/ws/x/", "/broadcast", "/healthz", "/metrics"])
async def test_other_paths_are_refused_before_the_upgrade(broadcast: Broadcast, user: str, path: str):
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"ws://127.0.0.1:{broadcast.port}{path}"):
            raise AssertionError
    response = refused.value.response
    assert (response.status_code, json.loads(response.body)["error"]["code"]) == (404, "not_found")


async def test_nothing_of_a_ticket_or_secret_is_in_the_log(broadcast: Broadcast, user: str, course: str):
    text = ticket(user, [course])
    async with connect(f"ws://127.0.0.1:{broadcast.port}/ws/?ticket={text}") as socket:
        client = Client(socket)
        await client.receive_until("subscribed")
        await client.send("refresh", ticket=text)
        await client.receive()
    log = broadcast.log_path.read_text()
    assert text not in log
    assert text.split(".")[2] not in log
    assert "ticket=" not in log
    assert TICKET_SECRET not in log


async def test_an_operation_can_be_followed_to_the_socket_in_the_log(broadcast: Broadcast, user: str, course: str):
    async with broadcast.client(ticket(user, [course])) as client:
        await client.subscribe(course)
        operation_id = f"save-{uuid.uuid4()}"
        broadcast.post(event(course, 1, operation_id=operation_id))
        await client.receive_events(1)
    messages = [line["message"] for line in broadcast.log_lines() if line.get("operationId") == operation_id]
    assert sorted(messages) == ["Emitted", "Taken"]
