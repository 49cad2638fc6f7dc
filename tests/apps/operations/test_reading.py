"""Reading operations: one's own, newest first, page by page."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from apps.accounts.models import User
from apps.operations import runner
from tests.apps.operations.notes import LANE, Notes, ask
from tests.support.api import ApiClient


def _listed(api: ApiClient, query: str = "") -> list[str]:
    return [operation["operationId"] for operation in api.get(f"operations/{query}").data]


def test_ones_own_operations_are_listed_newest_first(api: ApiClient, stranger: User, notes: Notes) -> None:
    for n in range(3):
        ask(api.user, "succeed", key=f"op{n}")
    ask(stranger, "succeed", key="theirs")

    assert _listed(api) == ["op2", "op1", "op0"]
    assert _listed(ApiClient(stranger)) == ["theirs"]


def test_a_list_shows_operations_without_their_steps(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed", "fail")
    runner.run_lane(LANE)

    (listed,) = api.get("operations/").data
    whole = api.get("operations/op/").data
    steps = whole.pop("steps")
    assert listed == whole
    assert [step["stepId"] for step in steps] == ["1.0", "1.1"]


def test_pages_neither_repeat_nor_skip_whatever_comes_meanwhile(api: ApiClient, notes: Notes) -> None:
    for n in range(5):
        ask(api.user, "succeed", key=f"op{n}")
    seen, cursor = [], ""
    while cursor is not None:
        page = api.get(f"operations/?limit=2{f'&cursor={cursor}' if cursor else ''}").body
        seen.append([operation["operationId"] for operation in page["data"]])
        cursor = page["next"]
        ask(api.user, "succeed", key=f"meanwhile{len(seen)}")

    assert seen == [["op4", "op3"], ["op2", "op1"], ["op0"]]


def test_fifty_are_given_when_nobody_says_how_many(api: ApiClient, notes: Notes) -> None:
    for n in range(51):
        ask(api.user, "succeed", key=f"op{n}")
    page = api.get("operations/").body

    assert len(page["data"]) == 50
    assert len(api.get(f"operations/?cursor={page['next']}").data) == 1
    assert len(_listed(api, "?limit=200")) == 51


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=!", "cursor=AAAA", "page=2"])
def test_a_page_that_makes_no_sense_is_refused(api: ApiClient, query: str) -> None:
    answer = api.get(f"operations/?{query}")

    assert (answer.status, list(answer.error["fields"])) == (400, [query.partition("=")[0]])


def test_only_its_submitter_may_read_an_operation(live: ApiClient, stranger: User) -> None:
    course = live.course()
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "editor"})
    live.patch(f"courses/{course}/", {"title": "Ours", "operationId": "op"})

    assert live.get("operations/op/").status == 200
    answer = ApiClient(stranger).get("operations/op/")
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert ApiClient(None).get("operations/op/").status == 401
    assert ApiClient(None).get("operations/").status == 401


@pytest.mark.parametrize("key", ["unknown", "%00", "a%20b", "%F0%9F%8E%93", "x" * 300])
def test_what_never_was_is_not_there(api: ApiClient, key: str) -> None:
    for answer in (
        api.get(f"operations/{key}/"),
        api.post(f"operations/{key}/retry/"),
        api.post(f"operations/{key}/cancel/"),
    ):
        assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize(("method", "path"), [("DELETE", "operations/op/"), ("GET", "operations/op/retry/")])
def test_what_cannot_be_done_to_an_operation_is_said(api: ApiClient, notes: Notes, method: str, path: str) -> None:
    ask(api.user, "succeed")

    assert api.request(method, path).error["code"] == "method_not_allowed"


def test_times_are_rfc_3339_in_utc(api: ApiClient, notes: Notes) -> None:
    ask(api.user, "succeed")
    runner.run_lane(LANE)
    shown: dict[str, Any] = api.get("operations/op/").data

    for name in ("createdAt", "finishedAt"):
        assert datetime.fromisoformat(shown[name]).utcoffset() == timedelta(0)
        assert shown[name].endswith("Z")
