"""The adapter to the broadcast service, against a real HTTP server that answers this and that."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from apps.outbox import bridge as adapter
from apps.outbox.bridge import BridgeAway, Gaps, HttpBridge, Outgoing, Refused
from broadcast.contracts import bridge as contract
from coursehub.stack.ports import free_port
from tests.apps.outbox.bridge_server import Answer, BridgeServer
from tests.apps.outbox.writing import COURSE, OTHER

SECRET = "what both sides know"
TLS_HANDSHAKE = b"\x16"
"""How whoever speaks TLS begins."""
EVENT = Outgoing(COURSE, '{"type":"chapter-update-complete","seq":1,"data":{"newTitle":"Über"}}')


@pytest.fixture
def server() -> Iterator[BridgeServer]:
    with BridgeServer().running() as server:
        yield server


@pytest.fixture
def bridge(server: BridgeServer) -> Iterator[HttpBridge]:
    bridge = HttpBridge(server.url, SECRET)
    yield bridge
    bridge.close()


def _json(status: int, body: object) -> Answer:
    return Answer(status, json.dumps(body).encode())


def test_a_batch_is_posted_with_the_topic_on_each_event(server: BridgeServer, bridge: HttpBridge) -> None:
    bridge.post([EVENT, Outgoing(OTHER, '{"type":"x","seq":5}'), Outgoing(None, '{"type":"access-revoked"}')])

    (post,) = server.posts
    assert (post.path, post.headers["content-type"]) == ("/broadcast", "application/json")
    assert json.loads(post.body) == {
        "events": [
            {"topic": COURSE, "type": "chapter-update-complete", "seq": 1, "data": {"newTitle": "Über"}},
            {"topic": OTHER, "type": "x", "seq": 5},
            {"type": "access-revoked"},
        ]
    }


def test_the_signature_belongs_to_this_body_this_secret_and_now(server: BridgeServer, bridge: HttpBridge) -> None:
    bridge.post([EVENT])

    (post,) = server.posts
    headers = {
        "timestamp": post.headers[contract.TIMESTAMP_HEADER.lower()],
        "signature": post.headers[contract.SIGNATURE_HEADER.lower()],
    }
    contract.verify(post.body, secret=SECRET, **headers)
    assert abs(time.time() - int(headers["timestamp"])) < 5
    with pytest.raises(contract.InvalidSignature):
        contract.verify(post.body + b" ", secret=SECRET, **headers)
    with pytest.raises(contract.InvalidSignature):
        contract.verify(post.body, secret="another", **headers)


def test_the_service_may_live_below_a_path(server: BridgeServer) -> None:
    HttpBridge(f"{server.url}/realtime/", SECRET).post([EVENT])

    assert server.posts[0].path == "/realtime/broadcast"


def test_one_connection_serves_many_posts(server: BridgeServer, bridge: HttpBridge) -> None:
    for _ in range(3):
        bridge.post([EVENT])

    assert [post.connection for post in server.posts] == [1, 1, 1]


@pytest.mark.parametrize("announced", [True, False])
def test_a_kept_connection_that_the_other_side_closed_is_replaced(
    server: BridgeServer, bridge: HttpBridge, announced: bool
) -> None:
    closing = b"Connection: close\r\n" if announced else b""
    server.answer(Answer(raw=b"HTTP/1.1 202 Accepted\r\n" + closing + b"Content-Length: 2\r\n\r\n{}"))
    bridge.post([EVENT])
    assert server.hung_up.acquire(timeout=10)
    bridge.post([EVENT])

    assert [post.connection for post in server.posts] == [1, 2]


def test_a_kept_connection_that_breaks_under_a_post_is_replaced_once(server: BridgeServer, bridge: HttpBridge) -> None:
    bridge.post([EVENT])
    server.answer(Answer(raw=b""))
    bridge.post([EVENT])

    assert [post.connection for post in server.posts] == [1, 1, 2]


def test_a_new_connection_that_breaks_is_not_tried_again(server: BridgeServer, bridge: HttpBridge) -> None:
    server.answer(Answer(raw=b""))
    with pytest.raises(BridgeAway):
        bridge.post([EVENT])

    assert len(server.posts) == 1
    bridge.post([EVENT])
    assert [post.connection for post in server.posts] == [1, 2]


def test_a_service_that_is_gone_is_away() -> None:
    with pytest.raises(BridgeAway):
        HttpBridge(f"http://127.0.0.1:{free_port()}", SECRET).post([EVENT])


def test_a_service_that_went_is_away_and_back_when_it_is_back(server: BridgeServer) -> None:
    with BridgeServer().running() as first:
        bridge = HttpBridge(first.url, SECRET)
        bridge.post([EVENT])
        first.answer(Answer(hangs_up=True))
        bridge.post([EVENT])
    with pytest.raises(BridgeAway):
        bridge.post([EVENT])


@pytest.mark.parametrize("kept", [True, False])
def test_no_answer_within_a_second_is_away_and_not_tried_again(
    server: BridgeServer, bridge: HttpBridge, kept: bool
) -> None:
    if kept:
        bridge.post([EVENT])
    may_answer = threading.Event()

    def late() -> Answer:
        may_answer.wait(10)
        return Answer()

    server.answer(late)
    began = time.monotonic()
    with pytest.raises(BridgeAway):
        bridge.post([EVENT])
    took = time.monotonic() - began
    may_answer.set()

    assert adapter.TIMEOUT_SECONDS <= took < 2 * adapter.TIMEOUT_SECONDS
    assert len(server.posts) == 1 + kept
    bridge.post([EVENT])
    assert len(server.posts) == 2 + kept


def test_a_port_that_takes_connections_and_says_nothing_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        bridge = HttpBridge(f"http://127.0.0.1:{deaf.getsockname()[1]}", SECRET)
        with pytest.raises(BridgeAway):
            bridge.post([EVENT])
        bridge.close()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(202, b""),
        Answer(202, b'{"accepted": 0, "duplicates": 1}'),
    ],
    ids=["nothing", "a duplicate"],
)
def test_202_is_taken_whatever_it_says(server: BridgeServer, bridge: HttpBridge, answer: Answer) -> None:
    server.answer(answer)
    bridge.post([EVENT])


def test_409_says_which_seq_each_topic_lacks(server: BridgeServer, bridge: HttpBridge) -> None:
    gaps = [{"topic": COURSE, "expected": 4}, {"topic": OTHER, "expected": 1}]
    server.answer(_json(409, {"gaps": gaps, "success": False, "error": {"code": "conflict", "message": "Gaps."}}))
    with pytest.raises(Gaps) as caught:
        bridge.post([EVENT])

    assert caught.value.expected == {COURSE: 4, OTHER: 1}


def test_400_with_an_index_refuses_that_event(server: BridgeServer, bridge: HttpBridge) -> None:
    server.answer(_json(400, {"success": False, "error": {"code": "validation_error", "message": "No.", "index": 3}}))
    with pytest.raises(Refused) as caught:
        bridge.post([EVENT])

    assert (caught.value.index, caught.value.reason) == (3, "No.")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_json(400, {"error": {"message": "Not JSON."}}), "Not JSON."),
        (_json(400, {}), "status 400"),
        (_json(400, {"error": {"message": "Odd.", "index": "3"}}), "Odd."),
        (_json(413, {"error": {"message": "Too large."}}), "Too large."),
        (Answer(413, b""), "status 413"),
    ],
)
def test_400_without_an_index_and_413_refuse_the_batch(
    server: BridgeServer, bridge: HttpBridge, answer: Answer, reason: str
) -> None:
    server.answer(answer)
    with pytest.raises(Refused) as caught:
        bridge.post([EVENT])

    assert (caught.value.index, caught.value.reason) == (None, reason)


@pytest.mark.parametrize("status", [200, 301, 401, 403, 404, 429, 500, 502, 503])
def test_every_other_status_means_not_now(server: BridgeServer, bridge: HttpBridge, status: int) -> None:
    server.answer(_json(status, {"error": {"message": "No.", "index": 0}}))
    with pytest.raises(BridgeAway, match=str(status)):
        bridge.post([EVENT])

    bridge.post([EVENT])
    assert [post.connection for post in server.posts] == [1, 1]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(202, b"<html>It works!</html>"),
        Answer(202, b"\xff\xfe"),
        Answer(raw=b"SSH-2.0-OpenSSH_9.6\r\n"),
        Answer(raw=b"HTTP/1.1 2o2 OK\r\n\r\n"),
        Answer(raw=b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{}"),
        Answer(raw=b"HTTP/1.1 202 Accepted\r\n" + b"X-Filler: 1\r\n" * 200 + b"\r\n"),
        Answer(400, b"<html>"),
        Answer(409, b"{"),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_answer(server: BridgeServer, bridge: HttpBridge, answer: Answer) -> None:
    server.answer(answer)
    with pytest.raises(BridgeAway):
        bridge.post([EVENT])

    bridge.post([EVENT])


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"gaps": []},
        {"gaps": 1},
        {"gaps": [COURSE]},
        {"gaps": [{"topic": COURSE}]},
        {"gaps": [{"topic": COURSE, "expected": "4"}]},
    ],
)
def test_a_409_that_names_no_gaps_is_no_answer(server: BridgeServer, bridge: HttpBridge, body: object) -> None:
    server.answer(_json(409, body))
    with pytest.raises(BridgeAway):
        bridge.post([EVENT])


@pytest.mark.parametrize("error", ["No.", ["No."], 5])
def test_a_refusal_that_is_no_object_is_still_one(server: BridgeServer, bridge: HttpBridge, error: object) -> None:
    server.answer(_json(400, {"error": error}))
    with pytest.raises(Refused) as caught:
        bridge.post([EVENT])

    assert caught.value.index is None


def test_an_index_below_zero_is_none(server: BridgeServer, bridge: HttpBridge) -> None:
    server.answer(_json(400, {"error": {"message": "Odd.", "index": -1}}))
    with pytest.raises(Refused) as caught:
        bridge.post([EVENT])

    assert caught.value.index is None


def test_each_thread_has_a_bridge_of_its_own_to_the_service_of_the_settings(
    server: BridgeServer, settings: Any
) -> None:
    settings.BROADCAST_URL, settings.BROADCAST_SECRET = server.url, SECRET
    seen: list[adapter.Bridge] = []

    def post() -> None:
        seen.extend([adapter.of_this_thread(), adapter.of_this_thread()])
        seen[-1].post([EVENT])

    for _ in range(2):
        thread = threading.Thread(target=post)
        thread.start()
        thread.join(10)

    assert [post.connection for post in server.posts] == [1, 2]
    assert seen[0] is seen[1] and seen[2] is seen[3] and seen[0] is not seen[2]


def test_readiness_asks_whether_the_service_is_ready(server: BridgeServer, settings: Any) -> None:
    settings.BROADCAST_URL = server.url
    server.answer(Answer(200), Answer(503), Answer(raw=b""))

    adapter.answers()
    with pytest.raises(BridgeAway):
        adapter.answers()
    with pytest.raises(OSError):
        adapter.answers()


def test_readiness_is_asked_for_by_tls_where_events_are(settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        settings.BROADCAST_URL = f"https://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OSError):
            adapter.answers()  # it waits for an answer in vain
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1) == TLS_HANDSHAKE
