"""Bad input over REST: each kind has a clear answer in the one form of errors, and changes nothing."""

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from demo.client import Answer, Api, Json
from tests.support.stack import Cast, Course, Site, refusal

MISSING = "01900000-0000-7000-8000-000000000000"
INVALID = (400, "validation_error")


@pytest.fixture(scope="module")
def there(site: Site, people: Cast) -> Course:
    """A course that no test of this file manages to change."""
    return site.new_course(people.again())


@pytest.fixture(autouse=True)
def unchanged(there: Course, cast: Cast) -> Iterator[None]:
    """Whatever is refused leaves everything as it was."""
    before = there.read(cast.owner)
    newest = cast.owner.get("operations/?limit=1").data
    yield
    assert there.read(cast.owner) == before
    assert cast.owner.get("operations/?limit=1").data == newest


def raw(api: Api, path: str, body: bytes, **headers: str) -> Answer:
    """POST these very bytes."""
    return api.request("POST", path, body, headers)


# What is not even JSON

NOT_JSON = {
    "not JSON": b"{title: 'x'}",
    "cut off": b'{"title": "x"',
    "more after the end": b'{"title": "x"} {}',
    "not UTF-8": b'{"title": "\xff\xfe"}',
    "UTF-16": '{"title": "x"}'.encode("utf-16"),
    "a list": b'[{"title": "x"}]',
    "a string": b'"title"',
    "null": b"null",
    "NaN": b'{"title": "x", "position": NaN}',
    "infinity": b'{"title": "x", "position": Infinity}',
    "deep lists": b'{"title": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"title": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "a number of 100,000 digits": b'{"title": "x", "position": ' + b"9" * 100_000 + b"}",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_bodies_that_are_no_json_object(there: Course, owner: Api, body: bytes) -> None:
    assert refusal(raw(owner, f"{there.path}chapters/", body)) == INVALID


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_bodies_that_do_not_say_that_they_are_json(there: Course, owner: Api, content_type: str) -> None:
    answer = raw(owner, f"{there.path}chapters/", b'{"title": "x"}', Content_Type=content_type)
    assert refusal(answer) == (415, "unsupported_media_type")


# What has the wrong shape

CHAPTERS: dict[str, tuple[Json, str]] = {
    "nothing": ({}, "title"),
    "a number for text": ({"title": 5}, "title"),
    "null for text": ({"title": None}, "title"),
    "a list for text": ({"title": ["x"]}, "title"),
    "empty": ({"title": ""}, "title"),
    "blank": ({"title": " \t"}, "title"),
    "too long": ({"title": "x" * 256}, "title"),
    "a NUL character": ({"title": "a\x00b"}, "title"),
    "half a surrogate pair": ({"title": "\ud800"}, "title"),
    "half a surrogate pair in a tempId": ({"title": "x", "tempId": "\udfff"}, "tempId"),
    "a NUL character in a tempId": ({"title": "x", "tempId": "\x00"}, "tempId"),
    "text for a number": ({"title": "x", "position": "1"}, "position"),
    "a fraction": ({"title": "x", "position": 1.5}, "position"),
    "true for a number": ({"title": "x", "position": True}, "position"),
    "negative": ({"title": "x", "position": -1}, "position"),
    "huge": ({"title": "x", "position": 10**30}, "position"),
    "an unknown field": ({"title": "x", "colour": "red"}, "colour"),
    "snake case": ({"title": "x", "temp_id": "t"}, "temp_id"),
    "a tempId that is too long": ({"title": "x", "tempId": "t" * 129}, "tempId"),
    "an operationId with a space": ({"title": "x", "operationId": "a b"}, "operationId"),
    "an operationId that begins with a dot": ({"title": "x", "operationId": ".a"}, "operationId"),
    "an empty operationId": ({"title": "x", "operationId": ""}, "operationId"),
    "an operationId with a line break": ({"title": "x", "operationId": "a\n"}, "operationId"),
    "an operationId of 129 characters": ({"title": "x", "operationId": "a" * 129}, "operationId"),
    "a stepId of letters that are not ASCII": ({"title": "x", "stepId": "é"}, "stepId"),
    "expecting nothing": ({"title": "x", "expect": 0}, "expect"),
    "expecting text": ({"title": "x", "expect": "2"}, "expect"),
    "expecting too much": ({"title": "x", "expect": 10**12}, "expect"),
}


@pytest.mark.parametrize(("body", "field"), CHAPTERS.values(), ids=CHAPTERS.keys())
def test_chapters_that_are_none(there: Course, owner: Api, body: Json, field: str) -> None:
    answer = owner.post(f"{there.path}chapters/", body)
    assert refusal(answer) == INVALID
    assert list(answer.body["error"]["fields"]) == [field]
    assert all(isinstance(message, str) for message in answer.body["error"]["fields"][field])


def test_half_a_surrogate_pair_anywhere(there: Course, owner: Api, site: Site) -> None:
    bad, chapter, nobody = "a\ud83d", there.chapters[0], site.anonymous()
    answers = [
        owner.post(f"chapters/{chapter}/videos/", {"title": "x", "filename": bad}),
        owner.patch(there.path, {"description": bad}),
        owner.patch(there.path, {"currency": bad}),
        owner.patch(there.path, {"title": "x", bad: bad}),
        there.save(owner, {"action": "video.create", "chapterId": chapter, "title": "x", "filename": bad}),
        there.save(owner, {"action": "video.create", "chapterId": bad, "title": "x"}),
        there.save(owner, {"action": "chapter.reorder", "chapterIds": [bad]}),
        owner.post(f"{there.path}members/", {"username": bad, "role": "viewer"}),
        nobody.post("auth/token/", {"username": bad, "password": "x"}),
        nobody.post("auth/register/", {"username": bad, "password": "correct horse"}),
        nobody.post("auth/register/", {"username": "x", "password": bad * 10}),
        nobody.post("auth/register/", {"username": "x", "password": "correct horse", "email": bad}),
    ]
    assert [refusal(answer) for answer in answers] == [INVALID] * len(answers)
    refresh = refusal(nobody.post("auth/token/refresh/", {"refresh": bad}))
    assert refresh in (INVALID, (401, "not_authenticated"))


COURSES: dict[str, tuple[Json, str]] = {
    "a price in words": ({"title": "x", "price": "ten"}, "price"),
    "a negative price": ({"title": "x", "price": "-0.01"}, "price"),
    "three decimals": ({"title": "x", "price": "1.999"}, "price"),
    "a huge price": ({"title": "x", "price": "1e99"}, "price"),
    "an endless price": ({"title": "x", "price": "Infinity"}, "price"),
    "no price": ({"title": "x", "price": "NaN"}, "price"),
    "a listed price": ({"title": "x", "price": ["1.00"]}, "price"),
    "a currency in lower case": ({"title": "x", "currency": "eur"}, "currency"),
    "no currency": ({"title": "x", "currency": "XXQ"}, "currency"),
    "too long a description": ({"title": "x", "description": "x" * 10_001}, "description"),
    "null for a description": ({"title": "x", "description": None}, "description"),
    "an owner": ({"title": "x", "ownerId": MISSING}, "ownerId"),
}


@pytest.mark.parametrize(("body", "field"), COURSES.values(), ids=COURSES.keys())
def test_courses_that_are_none(there: Course, owner: Api, body: Json, field: str) -> None:
    for answer in (owner.post("courses/", body), owner.patch(there.path, body)):
        assert refusal(answer) == INVALID
        assert list(answer.body["error"]["fields"]) == [field]


@pytest.mark.parametrize(
    "headers",
    [
        {"Operation_Id": "a b"},
        {"Operation_Id": "a" * 129},
        {"Operation_Expect": "many"},
        {"Operation_Expect": "0"},
        {"Idempotency_Key": "-x"},
        {"Operation_Id": "other-than-the-body"},
    ],
    ids=str,
)
def test_headers_that_are_malformed_or_differ_from_the_body(there: Course, owner: Api, headers: dict[str, str]) -> None:
    body = {"title": "x", **({"operationId": "of-the-body"} if "other" in str(headers) else {})}
    assert refusal(owner.post(f"{there.path}chapters/", body, **headers)) == INVALID


# Saves

CREATE = {"action": "chapter.create", "title": "x"}


def saves(course: Course) -> dict[str, list[Any]]:
    """Saves that are refused whole."""
    chapter, video = course.chapters[0], course.videos[0][0]
    return {
        "no changes": [],
        "2,001 changes": [CREATE] * 2_001,
        "no action": [{"title": "x"}],
        "an unknown action": [{"action": "chapter.explode", "chapterId": chapter}],
        "an action of the single requests": [{"action": "course.delete"}],
        "no object": ["chapter.create"],
        "an unknown field": [{**CREATE, "colour": "red"}],
        "an unknown tempId": [{"action": "chapter.update", "chapterId": "nobody", "title": "x"}],
        "a tempId that comes later": [
            {"action": "video.create", "chapterId": "c", "title": "x"},
            {**CREATE, "tempId": "c"},
        ],
        "tempIds in a circle": [
            {"action": "video.create", "tempId": "a", "chapterId": "b", "title": "x"},
            {"action": "video.create", "tempId": "b", "chapterId": "a", "title": "x"},
        ],
        "a tempId of itself": [{"action": "video.create", "tempId": "a", "chapterId": "a", "title": "x"}],
        "a tempId given twice": [{**CREATE, "tempId": "c"}, {**CREATE, "tempId": "c"}],
        "a tempId of another kind": [{**CREATE, "tempId": "c"}, {"action": "video.delete", "videoId": "c"}],
        "a doubled stepId": [{**CREATE, "stepId": "s"}, {**CREATE, "stepId": "s"}],
        "a stepId doubled by a default": [CREATE, {**CREATE, "stepId": "1.0"}],
        "a list that is none": [{"action": "chapter.reorder", "chapterIds": chapter}],
        "a list of numbers": [{"action": "chapter.reorder", "chapterIds": [1, 2]}],
        "an unknown tempId in a list": [{"action": "video.reorder", "chapterId": chapter, "videoIds": [video, "v"]}],
        "half a surrogate pair": [{**CREATE, "title": "\udc00"}],
        "a NUL character": [{**CREATE, "title": "\x00"}],
        "a version of 0": [{"action": "chapter.delete", "chapterId": chapter, "baseVersion": 0}],
    }


@pytest.mark.parametrize("name", saves(Course("", [""], [[""]])))
def test_malformed_saves_are_refused_whole(there: Course, owner: Api, name: str) -> None:
    valid = {"action": "chapter.create", "title": "Must not be made"}
    changes = saves(there)[name]
    for mixed in [changes] if len(changes) in (0, 2_001) else [changes, [valid, *changes]]:
        answer = there.save(owner, *mixed)
        assert refusal(answer) == INVALID
        assert answer.body["error"]["fields"]


def test_changes_that_are_no_list(there: Course, owner: Api) -> None:
    for body in ({}, {"changes": None}, {"changes": CREATE}, {"changes": [CREATE], "atomic": "yes"}):
        assert refusal(owner.post(f"{there.path}save/", body)) == INVALID


# Lists


def test_reorder_lists_that_miss_or_repeat_or_invent(there: Course, owner: Api) -> None:
    one, two = there.chapters
    for ids in ([], [one], [one, one], [one, two, two], [one, two, MISSING], [one, MISSING], [one, "nobody"]):
        answer = owner.post(f"{there.path}chapters/reorder/", {"chapterIds": ids})
        assert refusal(answer) == (409, "conflict"), ids
    first, second = there.videos[0]
    for ids in ([], [first], [first, first], [first, second, there.videos[1][0]], [one, two]):
        answer = owner.post(f"chapters/{one}/videos/reorder/", {"videoIds": ids})
        assert refusal(answer) == (409, "conflict"), ids


# Ids


def test_ids_that_never_were_or_are_others(there: Course, owner: Api, stranger: Api) -> None:
    theirs = Course(stranger.done(stranger.post("courses/", {"title": "Theirs"}))["steps"][0]["data"]["courseId"])
    chapter = stranger.done(stranger.post(f"{theirs.path}chapters/", {"title": "x"}))["steps"][0]["data"]["chapterId"]
    mine = there.videos[0][0]
    answers = [
        owner.get(theirs.path),
        owner.get(f"courses/{MISSING}/"),
        owner.patch(f"courses/{MISSING}/", {"title": "x"}),
        owner.patch(f"chapters/{MISSING}/", {"title": "x"}),
        owner.patch(f"chapters/{chapter}/", {"title": "x"}),
        owner.patch(f"videos/{chapter}/", {"title": "x"}),
        owner.post(f"chapters/{MISSING}/videos/", {"title": "x"}),
        owner.post(f"chapters/{chapter}/videos/", {"title": "x"}),
        owner.post(f"videos/{mine}/move/", {"chapterId": chapter}),
        owner.post(f"videos/{mine}/move/", {"chapterId": MISSING}),
        owner.post(f"videos/{mine}/move/", {"chapterId": "nobody"}),
        owner.delete(f"{there.path}members/{MISSING}/"),
        owner.post(f"{there.path}members/", {"username": "nobody-at-all", "role": "viewer"}),
        owner.post("realtime/tickets/", {"courseIds": [MISSING]}),
        owner.get(f"topics/course:{MISSING}/events/"),
        owner.get(f"topics/user:{stranger.user['id']}/events/"),
        owner.get("topics/nonsense/events/"),
        owner.get("operations/never-was/"),
    ]
    assert [refusal(answer) for answer in answers] == [(404, "not_found")] * len(answers)


def test_what_is_no_id_names_nothing(owner: Api) -> None:
    for bad in ("1", "x" * 36, "..", "%00", "%F0%9F%8C%B1", MISSING.upper() + "0", MISSING.replace("-", "")):
        answers = [owner.get(f"{kind}/{bad}/") for kind in ("courses", "chapters", "videos")]
        answers += [
            owner.patch(f"chapters/{bad}/", {"title": "x"}),
            owner.post(f"chapters/{bad}/videos/", {"title": "x"}),
        ]
        assert {refusal(answer) for answer in answers} == {(404, "not_found")}, bad
    assert refusal(owner.get("operations/%00/")) == (404, "not_found")


def test_tickets_for_what_is_no_course(owner: Api) -> None:
    for ids in (["x"], [1], [None], "all", [MISSING] * 51):
        assert refusal(owner.post("realtime/tickets/", {"courseIds": ids})) == INVALID


# Queries, methods, paths, hosts


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=%00", "cursor=abc", "page=2", "limit="])
def test_queries_that_make_no_sense(owner: Api, query: str) -> None:
    for path in ("courses/", "operations/"):
        answer = owner.get(f"{path}?{query}")
        assert refusal(answer) == INVALID and answer.body["error"]["fields"]


@pytest.mark.parametrize("after", ["-1", "x", "1.5", str(10**30)])
def test_seqs_that_are_none(there: Course, owner: Api, after: str) -> None:
    answer = owner.get(f"topics/{there.topic}/events/?after={after}")
    assert answer.status in (400, 410) and refusal(answer)


def test_wrong_methods(there: Course, owner: Api) -> None:
    wrong = [
        *(("PUT", path) for path in ("courses/", there.path, f"chapters/{there.chapters[0]}/")),
        *(("DELETE", path) for path in ("courses/", f"{there.path}outline/", "auth/me/", "operations/")),
        *(("GET", path) for path in (f"{there.path}save/", "realtime/tickets/", "auth/token/", "auth/register/")),
        ("PATCH", f"{there.path}members/"),
        ("POST", "auth/me/"),
    ]
    for method, path in wrong:
        answer = owner.request(method, path, {})
        assert refusal(answer) == (405, "method_not_allowed"), (method, path)
        assert answer.headers["Allow"]


def test_unknown_paths(owner: Api, site: Site) -> None:
    paths = ["/", "/api/", "/api/v1/", "/api/v2/courses/", "/api/v1/nothing/", "/api/v1/courses", "/%00", "/.env", "//"]
    for user in (owner, site.anonymous()):
        assert {refusal(user.get(path)) for path in paths} == {(404, "not_found")}


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "a b", "[::", "127.0.0.1:port"])
def test_hosts_that_are_not_ours(owner: Api, host: str) -> None:
    assert refusal(owner.get("courses/", Host=host)) == INVALID
    assert refusal(owner.get("/nowhere/", Host=host))[0] in (400, 404)


# What is not even HTTP

UNREADABLE = {
    "a control character in a header": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \x01\r\n\r\n", 400),
    "no version of HTTP": (b"GET / SPDY\r\n\r\n", 400),
    "an endless path": (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    "a long header": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: x\r\n" * 200 + b"\r\n", 431),
}


@pytest.mark.parametrize(("request_", "status"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_requests_that_cannot_be_read(owner: Api, request_: bytes, status: int) -> None:
    parts = urlsplit(owner.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        connection.sendall(request_)
        response = http.client.HTTPResponse(connection)
        response.begin()
        answer = json.loads(response.read())
    assert (response.status, response.headers["Content-Type"]) == (status, "application/json")
    assert (answer["success"], answer["error"]["code"]) == (False, "validation_error")


def test_the_longest_query_that_can_be_meant_is_read(owner: Api) -> None:
    query = {
        "q": "🌱" * 200,
        "cursor": "x" * 2000,
        "limit": 200,
        "ordering": "-lastUsedAt",
        "trashed": "true",
        "category": "document",
        "usage": "unused",
        "status": "processing",
        "minSize": 2**63 - 1,
        "maxSize": 2**63 - 1,
        **dict.fromkeys(("createdAfter", "createdBefore"), "2026-11-22T19:15:59.123456+00:00"),
    }
    answer = owner.get(f"media/?{urlencode(query)}")
    assert refusal(answer) == INVALID and list(answer.body["error"]["fields"]) == ["cursor"]


# Bodies of a size


def test_a_body_of_10_mb_is_refused_early(there: Course, owner: Api, site: Site) -> None:
    body = json.dumps({"title": "x" * 10_000_000}).encode()
    for path in (f"{there.path}chapters/", f"{there.path}save/", "auth/token/", "nothing/"):
        answer = raw(owner, path, body)
        assert refusal(answer) == (413, "payload_too_large")
        assert answer.seconds < 2
    assert owner.get("auth/me/").status == 200
    assert refusal(raw(site.anonymous(), "auth/register/", body)) == (413, "payload_too_large")


def test_a_body_whose_announced_10_mb_never_come_is_refused_at_once(there: Course, owner: Api) -> None:
    parts = urlsplit(owner.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    connection.putrequest("POST", f"/api/v1/{there.path}chapters/")
    for name, value in {"Authorization": f"Bearer {owner.token}", "Content-Type": "application/json"}.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", "10000000")
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["error"]["code"]) == (413, "payload_too_large")
    connection.close()


@pytest.mark.parametrize("size", [30, 10_000_000])
def test_a_body_without_a_length_is_not_taken_for_an_empty_one(there: Course, owner: Api, size: int) -> None:
    parts = urlsplit(owner.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    body = json.dumps({"title": "x" * size, "colour": "red"}).encode()
    pieces = (body[start : start + 65_536] for start in range(0, len(body), 65_536))
    headers = {"Authorization": f"Bearer {owner.token}", "Content-Type": "application/json"}
    connection.request("PATCH", f"/api/v1/{there.path}", pieces, headers, encode_chunked=True)
    response = connection.getresponse()
    answer = json.loads(response.read())
    assert (response.status, answer["error"]["code"]) in [
        INVALID,
        (411, "validation_error"),
        (413, "payload_too_large"),
    ]
    assert "colour" in answer["error"].get("fields", {}) or response.status in (411, 413)
    connection.close()
