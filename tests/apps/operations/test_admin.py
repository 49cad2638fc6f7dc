"""Operations, steps and users in the admin."""

from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import User
from apps.operations import runner
from apps.operations.models import Operation, Request, Step
from tests.apps.operations.notes import COURSE, LANE, Notes, ask, operation, outcomes
from tests.support.api import clerks_browser, events_of

OPERATIONS, STEPS, USERS = "/admin/operations/operation/", "/admin/operations/step/", "/admin/accounts/user/"


@pytest.fixture
def admin() -> Client:
    """The admin as a superuser's browser has it."""
    client = Client()
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    return client


def _page(admin: Client, path: str) -> str:
    answer = admin.get(path)
    assert answer.status_code == 200, answer
    return answer.content.decode()


def _act(admin: Client, action: str, *operations: Operation) -> str:
    body = {"action": action, "_selected_action": [str(operation.pk) for operation in operations]}
    answer: Any = admin.post(OPERATIONS, body, follow=True)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_operations_are_listed_found_and_filtered(admin: Client, owner: User, notes: Notes) -> None:
    ask(owner, "succeed", "fail", key="first")
    ask(owner, "succeed", key="second")
    runner.run_lane(LANE)

    both = _page(admin, OPERATIONS)
    assert "first" in both and "second" in both and "olga" in both
    assert '<td class="field-status">Partial</td>' in both
    assert "second" not in _page(admin, f"{OPERATIONS}?status__exact=partial")
    assert "second" not in _page(admin, f"{OPERATIONS}?q=first")
    assert "second" in _page(admin, f"{OPERATIONS}?q=olga")
    assert "second" in _page(admin, f"{OPERATIONS}?kind__exact=note.write")


def test_an_operation_shows_its_steps(admin: Client, owner: User, notes: Notes) -> None:
    ask(owner, "succeed", "fail")
    runner.run_lane(LANE)
    page = _page(admin, f"{OPERATIONS}{operation().pk}/change/")

    assert "1.0" in page and "1.1" in page
    assert "As it was told." in page
    assert COURSE in page


def test_steps_are_listed_and_shown(admin: Client, owner: User, notes: Notes) -> None:
    ask(owner, "fail")
    runner.run_lane(LANE)

    assert LANE in _page(admin, STEPS)
    assert LANE in _page(admin, f"{STEPS}?q=op&status__exact=failed&action__exact=note.write")
    assert LANE not in _page(admin, f"{STEPS}?status__exact=succeeded")
    assert "As it was told." in _page(admin, f"{STEPS}{Step.objects.get().pk}/change/")


def test_users_are_listed_and_shown(admin: Client, owner: User) -> None:
    assert "olga" in _page(admin, USERS)
    assert "olga" in _page(admin, f"{USERS}{owner.pk}/change/")
    assert _page(admin, f"{USERS}add/")
    assert "olga" in _page(admin, f"{USERS}?q=olg")
    assert _page(admin, "/admin/")


def test_whoever_is_disabled_in_the_admin_is_disconnected(admin: Client, owner: User) -> None:
    form = {
        "username": owner.username,
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
        "email": "olga@example.org",
    }
    assert admin.post(f"{USERS}{owner.pk}/change/", {**form, "is_active": "on"}).status_code == 302
    assert events_of(f"control:{owner.pk}") == []
    assert admin.post(f"{USERS}{owner.pk}/change/", form).status_code == 302

    (message,) = events_of(f"control:{owner.pk}")
    assert (message["type"], message["topic"]) == ("access-revoked", None)
    owner.refresh_from_db()
    assert (owner.is_active, owner.email) == (False, "olga@example.org")


def test_failed_steps_are_tried_again_for_their_user(admin: Client, owner: User, notes: Notes) -> None:
    ask(owner, "succeed", "fail", key="one")
    ask(owner, "fail", key="two")
    runner.run_lane(LANE)
    Step.objects.filter(status="failed").update(payload={"does": "succeed"})
    _act(admin, "retry", *Operation.objects.all())
    runner.run_lane(LANE)

    retried = Operation.objects.exclude(key__in=["one", "two"])
    assert [(made.user, made.status, made.succeeded) for made in retried] == [(owner, "succeeded", 1)] * 2


def test_what_cannot_be_tried_again_is_said_and_the_others_are(admin: Client, owner: User, notes: Notes) -> None:
    ask(owner, "succeed", key="fine")
    ask(owner, "fail", key="failed")
    runner.run_lane(LANE)
    ask(owner, "succeed", key="pending")
    page = _act(admin, "retry", *Operation.objects.all()).lower()

    assert "fine: none of its steps failed." in page
    assert "pending: this operation has not ended." in page
    assert Operation.objects.count() == 4


def test_what_has_not_begun_is_cancelled(admin: Client, owner: User, notes: Notes) -> None:
    ask(owner, "succeed", "succeed")
    _act(admin, "cancel", operation())

    assert operation().status == "cancelled"
    assert set(outcomes().values()) == {"cancelled"}
    assert [event["type"] for event in events_of(COURSE)] == ["batch-operation-complete"]


def test_what_has_ended_cannot_be_cancelled_and_that_is_said(admin: Client, owner: User, notes: Notes) -> None:
    ask(owner, "succeed", key="done")
    runner.run_lane(LANE)
    ask(owner, "succeed", key="pending")
    page = _act(admin, "cancel", *Operation.objects.all()).lower()

    assert "done: this operation has ended." in page
    assert (operation("done").status, operation("pending").status) == ("succeeded", "cancelled")


@pytest.mark.parametrize("path", [OPERATIONS, STEPS])
def test_nothing_is_changed_by_hand(admin: Client, owner: User, notes: Notes, path: str) -> None:
    ask(owner, "succeed")
    pk = operation().pk if path == OPERATIONS else Step.objects.get().pk

    assert admin.get(f"{path}add/").status_code == 403
    assert admin.post(f"{path}{pk}/change/", {"status": "succeeded"}).status_code == 403
    assert admin.post(f"{path}{pk}/delete/", {"post": "yes"}).status_code == 403
    assert (operation().status, Step.objects.get().status) == ("pending", "pending")


@pytest.mark.parametrize(
    ("may", "answered", "status"), [("", 403, "pending"), ("view", 200, "pending"), ("change", 302, "cancelled")]
)
def test_only_whoever_may_change_operations_may_act(
    owner: User, notes: Notes, may: str, answered: int, status: str
) -> None:
    ask(owner, "succeed")
    clerk = clerks_browser(f"{may}_operation")
    answer = clerk.post(OPERATIONS, {"action": "cancel", "_selected_action": [str(operation().pk)]})

    assert answer.status_code == answered
    assert operation().status == status


def test_whoever_may_only_look_is_offered_no_action(owner: User, notes: Notes) -> None:
    ask(owner, "succeed")
    clerk = clerks_browser("view_operation")
    page = _page(clerk, OPERATIONS)

    assert "olga" in page
    assert "Cancel what" not in page and "Retry the failed" not in page


def test_rows_have_names(owner: User, notes: Notes) -> None:
    ask(owner, "succeed")

    names = [str(operation()), str(Step.objects.get()), str(Request.objects.get())]
    assert names == ["op", "note.write 1", "1"]
