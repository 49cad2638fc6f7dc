"""Connections that are kept: an answer that is the last one says so, and after any other there is another."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit

import pytest

from demo import tus
from tests.support.stack import Cast, Course, Site

LONG = 3 * 1024 * 1024


@pytest.fixture
def connection(site: Site) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", urlsplit(site.stack.api_url).port, timeout=20)
    connection.connect()
    connection.auto_open = 0  # type: ignore[attr-defined]
    yield connection
    connection.close()


def ask(connection: HTTPConnection, method: str, path: str, body: object, headers: dict[str, str]) -> HTTPResponse:
    """Send a request to the end of its body, and read the answer."""
    connection.request(method, path, body, headers)  # type: ignore[arg-type]
    response = connection.getresponse()
    response.read()
    return response


def is_kept_or_says_so(connection: HTTPConnection, response: HTTPResponse) -> bool:
    """Say whether the connection went on; one that did not must have said so."""
    if response.getheader("Connection") == "close":
        return False
    assert ask(connection, "GET", "/healthz", None, {}).status == 200
    return True


def pieces(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * (1024 * 1024)


@pytest.mark.parametrize(("size", "kept"), [(1_000, True), (LONG, False)])
def test_a_body_of_someone_who_is_not_signed_in(connection: HTTPConnection, size: int, kept: bool) -> None:
    body = json.dumps({"title": "x" * size}).encode()
    response = ask(connection, "POST", "/api/v1/courses/", body, {"Content-Type": "application/json"})
    assert response.status == 401
    assert is_kept_or_says_so(connection, response) is kept


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(connection: HTTPConnection, cast: Cast, chunked: bool) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {cast.owner.token}"}
    body = pieces(5) if chunked else b"x" * (5 * 1024 * 1024)
    response = ask(connection, "POST", "/api/v1/courses/", body, headers)
    assert (response.status, response.getheader("Connection")) == (413, "close")


@pytest.mark.parametrize("offset", ["0", "7"])
@pytest.mark.parametrize("chunked", [False, True])
def test_bytes_that_are_not_taken(connection: HTTPConnection, cast: Cast, offset: str, chunked: bool) -> None:
    upload = tus.create(cast.owner, 10, {"kind": "media"})
    headers = {"Authorization": f"Bearer {cast.owner.token}", "Tus-Resumable": "1.0.0", "Upload-Offset": offset}
    body = pieces(3) if chunked else b"x" * LONG
    response = ask(connection, "PATCH", upload.url, body, {**headers, "Content-Type": tus.BYTES})
    assert (response.status, response.getheader("Connection")) == (409 if offset == "7" else 413, "close")
    assert cast.owner.again().request("DELETE", upload.url, None, {"Tus-Resumable": "1.0.0"}).status == 204


IN_CHUNKS = {"Transfer-Encoding": "chunked"}
BROKEN_CHUNKS = b"4\r\nfilm\r\nZZ\r\n"


def test_a_body_in_broken_chunks_is_refused(connection: HTTPConnection, cast: Cast) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {cast.owner.token}"}
    response = ask(connection, "POST", "/api/v1/courses/", iter([BROKEN_CHUNKS]), {**headers, **IN_CHUNKS})
    assert (response.status, response.getheader("Connection")) == (400, "close")


def test_bytes_in_broken_chunks_are_an_upload_that_breaks_off(connection: HTTPConnection, cast: Cast) -> None:
    upload = tus.create(cast.owner, 10, {"kind": "media"})
    headers = {"Authorization": f"Bearer {cast.owner.token}", "Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
    sent = {**headers, **IN_CHUNKS, "Content-Type": tus.BYTES}
    response = ask(connection, "PATCH", upload.url, iter([BROKEN_CHUNKS]), sent)
    assert (response.status, response.getheader("Connection")) == (204, "close")
    assert int(response.headers["Upload-Offset"]) == upload.offset()
    assert cast.owner.again().request("DELETE", upload.url, None, {"Tus-Resumable": "1.0.0"}).status == 204


def test_bytes_that_are_taken_one_request_after_the_other(
    connection: HTTPConnection, cast: Cast, course: Course
) -> None:
    count, piece = 40, b"x" * 1000
    upload = tus.create(cast.owner, count * len(piece), {"kind": "media"})
    headers = {"Authorization": f"Bearer {cast.owner.token}", "Tus-Resumable": "1.0.0", "Content-Type": tus.BYTES}
    for at in range(0, count * len(piece), len(piece)):
        response = ask(connection, "PATCH", upload.url, piece, {**headers, "Upload-Offset": str(at)})
        assert (response.status, response.getheader("Connection")) == (204, "keep-alive")
    assert is_kept_or_says_so(connection, response)
