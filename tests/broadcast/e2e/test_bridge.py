"""The bridge and the rest of HTTP, against a real process."""

import asyncio
import http.client
import json
import socket
import time
from typing import Any

import pytest

from broadcast.contracts import bridge, topics
from tests.support.broadcast_process import BROADCAST_SECRET, Broadcast, event, revocation, ticket

pytestmark = pytest.mark.e2e


def post_raw(broadcast: Broadcast, body: bytes, **headers: str) -> tuple[int, Any]:
    """Post any body, signed as it is."""
    signed = bridge.signed_headers(body, secret=BROADCAST_SECRET) | headers
    status, _, answer = broadcast.request("POST", "/broadcast", body, signed)
    return status, json.loads(answer)


def test_one_event_may_be_posted_by_itself(broadcast: Broadcast, course: str):
    assert post_raw(broadcast, json.dumps(event(course, 1)).encode()) == (202, {"accepted": 1, "duplicates": 0})


def test_the_same_batch_twice_is_counted_as_duplicates(broadcast: Broadcast, course: str):
    batch = [event(course, seq) for seq in (1, 2, 3)]
    assert broadcast.post(*batch) == (202, {"accepted": 3, "duplicates": 0})
    assert broadcast.post(*batch) == (202, {"accepted": 0, "duplicates": 3})
    assert broadcast.post(*batch, event(course, 4)) == (202, {"accepted": 1, "duplicates": 3})


async def test_a_client_hears_an_event_that_was_posted_twice_once(broadcast: Broadcast, user: str, course: str):
    async with broadcast.client(ticket(user, [course])) as client:
        await client.subscribe(course)
        for seqs in ([1, 2], [1, 2], [2, 3]):
            broadcast.post(*(event(course, seq) for seq in seqs))
        assert [e["seq"] for e in await client.receive_events(3)] == [1, 2, 3]
        await client.send("ping")
        assert await client.receive() == {"type": "pong"}


def test_a_gap_is_refused_with_what_is_expected_and_nothing_is_taken(broadcast: Broadcast, user: str, course: str):
    own = topics.user(user)
    broadcast.post(event(course, 5))
    status, answer = broadcast.post(event(own, 1), event(course, 6), event(course, 8))
    assert (status, answer["gaps"]) == (409, [{"topic": course, "expected": 6}])
    assert broadcast.post(event(own, 1), event(course, 6)) == (202, {"accepted": 2, "duplicates": 0})


def test_a_gap_within_a_topic_that_is_not_known_yet_asks_for_its_first(broadcast: Broadcast, course: str):
    status, answer = broadcast.post(event(course, 3), event(course, 5))
    assert (status, answer["gaps"]) == (409, [{"topic": course, "expected": 3}])


def test_an_empty_batch_is_taken(broadcast: Broadcast):
    assert broadcast.post() == (202, {"accepted": 0, "duplicates": 0})


def test_a_control_message_counts_as_accepted(broadcast: Broadcast, user: str, course: str):
    assert broadcast.post(revocation(user, course, 1), event(course, 1)) == (202, {"accepted": 2, "duplicates": 0})


def test_a_body_changed_after_signing_is_refused(broadcast: Broadcast, course: str):
    body = json.dumps(event(course, 1)).encode()
    headers = bridge.signed_headers(body, secret=BROADCAST_SECRET)
    status, _, answer = broadcast.request("POST", "/broadcast", body.replace(b"save-1", b"save-2"), headers)
    assert (status, json.loads(answer)["error"]["code"]) == (401, "not_authenticated")


@pytest.mark.parametrize("age_seconds", [bridge.WINDOW_SECONDS + 5, -bridge.WINDOW_SECONDS - 5])
def test_a_timestamp_outside_the_window_is_refused(broadcast: Broadcast, course: str, age_seconds: int):
    body = json.dumps(event(course, 1)).encode()
    timestamp = str(int(time.time()) - age_seconds)
    signature = bridge.sign(body, secret=BROADCAST_SECRET, timestamp=timestamp)
    headers = {bridge.TIMESTAMP_HEADER: timestamp, bridge.SIGNATURE_HEADER: signature}
    assert broadcast.request("POST", "/broadcast", body, headers)[0] == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {bridge.TIMESTAMP_HEADER: "x", bridge.SIGNATURE_HEADER: "v1=00"},
        {bridge.TIMESTAMP_HEADER: "9" * 5000, bridge.SIGNATURE_HEADER: "v1=00"},
        {bridge.TIMESTAMP_HEADER: str(int(time.time())), bridge.SIGNATURE_HEADER: "v1=\xe4\xf6"},
    ],
    ids=["none", "no number", "huge number", "not ASCII"],
)
def test_a_request_without_a_signature_is_refused(broadcast: Broadcast, course: str, headers: dict[str, str]):
    assert broadcast.request("POST", "/broadcast", json.dumps(event(course, 1)).encode(), headers)[0] == 401


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"events":5}', b'{"events":[{"a":NaN}]}', b"\xff\xfe", b'"\x00"', b"[" * 100_000],
)
def test_a_body_that_is_not_a_batch_is_malformed(broadcast: Broadcast, body: bytes):
    status, answer = post_raw(broadcast, body)
    assert (status, answer["success"], answer["error"]["code"]) == (400, False, "validation_error")


def test_what_is_malformed_is_named_by_its_index_and_nothing_is_taken(broadcast: Broadcast, course: str):
    status, answer = broadcast.post(event(course, 1), {**event(course, 2), "data": []})
    assert status == 400
    assert answer["error"]["index"] == 1
    assert "data" in answer["error"]["message"]
    assert broadcast.post(event(course, 1)) == (202, {"accepted": 1, "duplicates": 0})


def test_more_events_than_allowed_are_malformed(broadcast: Broadcast, course: str):
    assert broadcast.post(*(event(course, seq) for seq in range(1, bridge.MAX_EVENTS + 2)))[0] == 400
    assert broadcast.post(*(event(course, seq) for seq in range(1, bridge.MAX_EVENTS + 1)))[0] == 202


def test_a_body_over_four_megabytes_is_refused_by_its_length_before_it_comes(broadcast: Broadcast):
    with socket.create_connection(("127.0.0.1", broadcast.port), timeout=5) as connection:
        connection.sendall(
            b"POST /broadcast HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4194305\r\n\r\n"
        )
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"payload_too_large" in answer


def test_a_body_that_grows_over_four_megabytes_is_refused_while_it_comes(broadcast: Broadcast):
    connection = http.client.HTTPConnection("127.0.0.1", broadcast.port, timeout=10)
    connection.request("POST", "/broadcast", (b"x" * 65536 for _ in range(80)), encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == "payload_too_large"
    connection.close()


def test_a_body_of_four_megabytes_is_read(broadcast: Broadcast):
    assert post_raw(broadcast, b'"' + b"x" * (bridge.MAX_BODY_BYTES - 2) + b'"')[0] == 400


def test_a_connection_is_kept_alive(broadcast: Broadcast, course: str):
    connection = http.client.HTTPConnection("127.0.0.1", broadcast.port, timeout=10)
    for seq in (1, 2, 3):
        body = json.dumps(event(course, seq)).encode()
        connection.request("POST", "/broadcast", body, bridge.signed_headers(body, secret=BROADCAST_SECRET))
        response = connection.getresponse()
        assert response.status == 202
        response.read()
        assert not response.will_close
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("POST", "/metrics", 405, "method_not_allowed"),
        ("GET", "/broadcast", 405, "method_not_allowed"),
        ("GET", "/ws/", 426, "upgrade_required"),
        ("GET", "/%00", 404, "not_found"),
    ],
)
def test_errors_have_one_form(broadcast: Broadcast, method: str, path: str, status: int, code: str):
    answered, headers, body = broadcast.request(method, path)
    assert (answered, headers["content-type"]) == (status, "application/json")
    assert json.loads(body)["success"] is False
    assert json.loads(body)["error"]["code"] == code


def test_health_and_readiness(broadcast: Broadcast):
    assert broadcast.get("/healthz") == (200, {"success": True, "data": {"status": "ok"}})
    assert broadcast.get("/readyz") == (200, {"success": True, "data": {"status": "ready"}})


@pytest.mark.parametrize("path", ["/healthz", "/readyz?x=/", "/metrics"])
def test_a_target_may_say_the_host(broadcast: Broadcast, path: str):
    for host in ("http://x:8080", "HTTPS://[::1]"):
        assert broadcast.request("GET", f"{host}{path}")[0] == 200
    assert broadcast.request("GET", "http://x?/healthz")[0] == 404
    assert broadcast.request("GET", "http:/healthz")[0] == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_who_asks_for_the_head_only_gets_that(broadcast: Broadcast, path: str):
    status, headers, body = broadcast.request("HEAD", path)
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


async def test_metrics_count_what_the_observer_did(broadcast: Broadcast, user: str, course: str):
    names = ("coursehub_events_emitted_total", "coursehub_listeners_notified_total", "coursehub_emit_seconds_count")
    async with broadcast.client(ticket(user, [course])) as client, broadcast.client(ticket(user, [course])) as other:
        before = {name: broadcast.metric(name) for name in names}
        listeners = broadcast.metric("coursehub_listeners")
        await client.subscribe(course)
        await other.subscribe(course)
        assert broadcast.metric("coursehub_listeners") == listeners + 2
        broadcast.post(event(course, 1), event(course, 2))
        await asyncio.gather(client.receive_events(2), other.receive_events(2))
        grown = {name: broadcast.metric(name) - before[name] for name in names}
    assert grown == dict(zip(names, (2, 4, 2), strict=True))
    assert broadcast.metric("coursehub_listener_errors_total") == 0
