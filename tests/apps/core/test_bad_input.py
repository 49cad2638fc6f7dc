"""Whatever is sent: one clear answer in one form."""

import json

import pytest
from django.test import Client

from apps.accounts.models import User
from tests.support.api import ApiClient


def refusal(answer: object) -> tuple[int, str]:
    return answer.status, answer.error["code"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"not json",
        b'{"title": NaN}',
        b'{"title": "\xff"}',
        b"[]",
        b'"text"',
        b"[" * 100_000,
        b'{"title":' * 50_000,
        b'{"title": "' + b"1" * 5000 + b'", "price": ' + b"1" * 5000 + b"}",
        "{'title': 'x'}".encode("utf-16"),
    ],
)
def test_what_is_not_a_json_object_is_refused(api: ApiClient, body: bytes) -> None:
    assert refusal(api.post("courses/", body)) == (400, "validation_error")


@pytest.mark.parametrize(("levels", "message"), [(64, "Some fields are not valid."), (65, "levels deep")])
def test_json_is_nested_at_most_so_many_levels_deep(api: ApiClient, levels: int, message: str) -> None:
    body = f'{{"title": "x", "surprise": {"[" * (levels - 1)}{"]" * (levels - 1)}}}'
    assert message in api.post("courses/", body.encode()).error["message"]


@pytest.mark.parametrize(("levels", "status"), [(64, 202), (65, 400)])
def test_json_is_as_deep_as_that_where_anything_may_stand(api: ApiClient, levels: int, status: int) -> None:
    inside = f"{'[' * (levels - 2)}{']' * (levels - 2)}"
    body = f'{{"filename": "a.mp4", "size": 4, "target": {{"kind": "media"}}, "metadata": {{"x": {inside}}}}}'
    assert api.post("uploads/s3/multipart", body.encode()).status == status


def test_what_a_session_sends_is_refused_alike(owner: User) -> None:
    browser = Client(enforce_csrf_checks=True, raise_request_exception=False)
    browser.force_login(owner)
    browser.cookies["csrftoken"] = token = "a" * 32
    answer = browser.post("/api/v1/courses/", "[" * 100_000, "application/json", headers={"X-CSRFToken": token})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "validation_error")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "title"),
        ({"title": None}, "title"),
        ({"title": 5}, "title"),
        ({"title": ["a"]}, "title"),
        ({"title": "   "}, "title"),
        ({"title": "x" * 256}, "title"),
        ({"title": "nul\x00"}, "title"),
        ({"title": "x", "surprise": 1}, "surprise"),
        ({"title": "x", "id": 1}, "id"),
        ({"title": "x", "description": "y" * 10_001}, "description"),
        ({"title": "x", "description": None}, "description"),
        ({"title": "x", "price": "cheap"}, "price"),
        ({"title": "x", "price": "1.234"}, "price"),
        ({"title": "x", "price": -1}, "price"),
        ({"title": "x", "price": "1e9"}, "price"),
        ({"title": "x", "price": "NaN"}, "price"),
        ({"title": "x", "price": True}, "price"),
        ({"title": "x", "currency": "XXX"}, "currency"),
        ({"title": "x", "currency": "eur"}, "currency"),
        ({"title": "x", "expect": 0}, "expect"),
        ({"title": "x", "expect": "2"}, "expect"),
        ({"title": "x", "operationId": ""}, "operationId"),
        ({"title": "x", "operationId": "-begins-badly"}, "operationId"),
        ({"title": "x", "operationId": "x" * 129}, "operationId"),
        ({"title": "x", "stepId": "with space"}, "stepId"),
    ],
)
def test_each_field_says_what_is_wrong_with_it(api: ApiClient, body: object, field: str) -> None:
    answer = api.post("courses/", body)

    assert refusal(answer) == (400, "validation_error")
    assert list(answer.error["fields"]) == [field]


@pytest.mark.parametrize("title", ["", " ", "\t\u2003"])
def test_a_blank_title_is_called_that(api: ApiClient, title: str) -> None:
    assert api.post("courses/", {"title": title}).error["fields"] == {"title": ["Text must not be blank"]}


@pytest.mark.parametrize(
    ("path", "body", "field", "most"),
    [
        ("courses/", {"title": "é" * 256}, "title", 255),
        ("courses/", {"title": "x", "description": "y" * 10_001}, "description", 10_000),
        ("auth/token/", {"username": "x" * 151, "password": "x"}, "username", 150),
    ],
)
def test_what_is_too_long_is_counted_in_characters(
    api: ApiClient, path: str, body: object, field: str, most: int
) -> None:
    assert api.post(path, body).error["fields"] == {field: [f"String should have at most {most} characters"]}


def test_words_to_look_for_are_counted_in_characters(api: ApiClient) -> None:
    error = api.get(f"media/?q={'x' * 201}").error
    assert error["fields"] == {"q": ["String should have at most 200 characters"]}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ("CreateCourseRequest", "title"),
        ("PatchedUpdateChapterRequest", "title"),
        ("PatchedUpdateMediaRequest", "name"),
        ("VideoCreate", "title"),
    ],
)
def test_the_openapi_document_says_how_long_a_title_may_be(api: ApiClient, request_: str, field: str) -> None:
    document = json.loads(api.get("/api/schema/?format=json").body)
    said = document["components"]["schemas"][request_]["properties"][field]
    assert (said["minLength"], said["maxLength"]) == (1, 255)


@pytest.mark.parametrize(
    ("status", "header"), [("202", "Operation-Location"), ("429", "Retry-After"), ("503", "Retry-After")]
)
def test_the_openapi_document_has_the_headers_of_answers(api: ApiClient, status: str, header: str) -> None:
    document = json.loads(api.get("/api/schema/?format=json").body)
    methods = [method for path in document["paths"].values() for method in path.values() if "responses" in method]
    answers = [method["responses"][status] for method in methods if status in method["responses"]]
    assert answers
    assert all(header in answer.get("headers", ()) for answer in answers)


def test_unknown_fields_are_named_whatever_they_are_called(api: ApiClient) -> None:
    answer = api.post("courses/", {"title": "x", "a.b": 1, "c[0]": 2})
    assert list(answer.error["fields"]) == ["a.b", "c[0]"]
    changes = [{"action": "course.update", "a.b": 1}]
    answer = api.post(f"courses/{api.course()}/save/", {"changes": changes})
    assert list(answer.error["fields"]) == ["changes.0.a.b"]


def test_a_lone_surrogate_is_not_text(api: ApiClient) -> None:
    assert refusal(api.post("courses/", b'{"title": "\\ud800"}')) == (400, "validation_error")


def test_headers_that_name_the_request_are_checked_too(api: ApiClient) -> None:
    assert refusal(api.post("courses/", {"title": "x"}, Operation_Id="!")) == (400, "validation_error")
    assert refusal(api.post("courses/", {"title": "x"}, Operation_Expect="many")) == (400, "validation_error")
    contradiction = api.post("courses/", {"title": "x", "operationId": "a"}, Operation_Id="b")
    assert refusal(contradiction) == (400, "validation_error")


def test_only_json_is_taken(api: ApiClient) -> None:
    assert refusal(api.post("courses/", b"title=x", Content_Type="application/x-www-form-urlencoded")) == (
        415,
        "unsupported_media_type",
    )


@pytest.mark.parametrize("accepted", ["text/html", "application/xml", "application/vnd.api+json", "nonsense", ""])
def test_json_is_answered_whatever_is_accepted(api: ApiClient, accepted: str) -> None:
    assert api.get("auth/me/", Accept=accepted).data["username"] == api.user.username
    assert api.post("courses/", {"title": "x"}, Accept=accepted).status == 202


def test_a_format_is_a_parameter_like_any_other(api: ApiClient) -> None:
    assert api.get("auth/me/?format=xml").status == 200
    refused = api.get("courses/?format=xml")
    assert (refused.status, list(refused.error["fields"])) == (400, ["format"])


@pytest.mark.parametrize(
    ("query", "accepted", "expected"),
    [
        ("", "*/*", "application/vnd.oai.openapi+json"),
        ("", "text/html", "application/vnd.oai.openapi+json"),
        ("", "application/yaml", "application/yaml"),
        ("?format=json", "*/*", "application/vnd.oai.openapi+json"),
        ("?format=yaml", "*/*", "application/vnd.oai.openapi"),
    ],
)
def test_the_openapi_document_is_json_unless_asked_for_in_yaml(
    api: ApiClient, query: str, accepted: str, expected: str
) -> None:
    assert api.get(f"/api/schema/{query}", Accept=accepted).headers["Content-Type"].partition(";")[0] == expected


def test_a_large_body_is_refused_early(api: ApiClient) -> None:
    body = json.dumps({"title": "x" * 10_000_000}).encode()
    assert refusal(api.post("courses/", body)) == (413, "payload_too_large")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nowhere", (404, "not_found")),
        ("GET", "/api/v1/nowhere/", (404, "not_found")),
        ("GET", "/api/v1/courses/not-an-id/", (404, "not_found")),
        ("GET", "/api/v1/courses", (404, "not_found")),
        ("GET", "/api/v1/courses/0190a8c4-7b1e-7c3a-9d2e-5f6a7b8c9d0e/", (404, "not_found")),
        ("PUT", "/api/v1/courses/", (405, "method_not_allowed")),
        ("POST", "/api/v1/auth/me/", (405, "method_not_allowed")),
        ("GET", "/api/v1/operations/%00/", (404, "not_found")),
        ("GET", "/api/v1/topics/nonsense/events/", (404, "not_found")),
    ],
)
def test_unknown_paths_and_methods_answer_in_the_same_form(
    api: ApiClient, method: str, path: str, expected: tuple[int, str]
) -> None:
    assert refusal(api.request(method, path)) == expected


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=%21", "cursor=AAAA", "surprise=1"])
def test_a_page_that_cannot_be_is_refused(api: ApiClient, query: str) -> None:
    assert refusal(api.get(f"courses/?{query}")) == (400, "validation_error")


def test_nobody_gets_nothing(owner: User) -> None:
    nobody = ApiClient(None)
    for answer in (
        nobody.get("courses/"),
        nobody.post("courses/", {"title": "x"}),
        nobody.get("courses/", Authorization="Bearer rubbish"),
        nobody.get("courses/", Authorization="Basic b2xnYTp4"),
    ):
        assert refusal(answer) == (401, "not_authenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["courses/", "auth/me/", "uploads/tus/"])
def test_more_parameters_than_anyone_needs_are_refused_in_the_same_form(api: ApiClient, path: str) -> None:
    query = "&".join(f"p{number}=1" for number in range(1001))
    for client in (api, ApiClient(None)):
        assert refusal(client.get(f"{path}?{query}")) == (400, "validation_error")


def test_a_host_that_is_not_ours_is_refused_in_the_same_form(api: ApiClient) -> None:
    assert refusal(api.get("courses/", Host="evil.example")) == (400, "validation_error")


def test_browsers_of_other_origins_may_read_what_they_need(api: ApiClient) -> None:
    answer = api.request(
        "OPTIONS",
        "courses/",
        Origin="http://localhost:5173",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization,operation-id,idempotency-key",
    )
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
    assert "operation-id" in answer.headers["Access-Control-Allow-Headers"]
    exposed = api.get("courses/", Origin="http://localhost:5173").headers["Access-Control-Expose-Headers"]
    assert {"Operation-Location", "Location", "Retry-After", "Upload-Offset"} <= set(exposed.split(", "))
    assert "Access-Control-Allow-Origin" not in api.get("courses/", Origin="https://evil.example").headers


def test_browsers_of_other_origins_may_read_why_a_body_is_refused(api: ApiClient) -> None:
    answer = api.post("courses/", b"x" * 5_000_000, Origin="http://localhost:5173")
    assert refusal(answer) == (413, "payload_too_large")
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
    assert {"X-Request-ID", "Connection"} <= set(answer.headers)
