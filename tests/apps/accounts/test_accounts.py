"""Registering, signing in, staying signed in, being shut out."""

import io
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from apps.accounts import services, tokens
from apps.accounts.models import User
from apps.core import clock, throttling
from tests.support.api import ApiClient, events_of
from tests.support.threads import together

PASSWORD = "correct horse battery"


@pytest.fixture
def nobody() -> ApiClient:
    return ApiClient(None)


@pytest.fixture
def registered(nobody: ApiClient, settings: Settings) -> dict[str, str]:
    settings.REGISTRATION = True
    answer = nobody.post("auth/register/", {"username": "rita", "password": PASSWORD, "email": "rita@example.org"})
    assert answer.status == 201
    return answer.data


@pytest.fixture
def minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the minute of the clock for which passwords are counted: another may begin in the middle of a test."""
    monkeypatch.setattr(throttling, "time", SimpleNamespace(time=lambda: 1_800_000_030.0))


def test_who_registers_is_signed_in(registered: dict, nobody: ApiClient) -> None:
    me = nobody.get("auth/me/", Authorization=f"Bearer {registered['access']}").data
    assert me == registered["user"] == {"id": me["id"], "username": "rita", "email": "rita@example.org"}
    assert set(registered) == {"access", "refresh", "expiresAt", "user"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"username": "rita", "password": PASSWORD}, "username"),
        ({"username": "no spaces", "password": PASSWORD}, "username"),
        ({"username": "new", "password": "short"}, "password"),
        ({"username": "new", "password": "password"}, "password"),
        ({"username": "new", "password": PASSWORD, "email": "nonsense"}, "email"),
        ({"username": "new"}, "password"),
    ],
)
def test_what_cannot_be_registered_says_why(registered: dict, nobody: ApiClient, body: dict, field: str) -> None:
    answer = nobody.post("auth/register/", body)
    assert (answer.status, answer.error["code"]) == (400, "validation_error")
    assert list(answer.error["fields"]) == [field]


def test_registration_may_be_closed(nobody: ApiClient, settings: Settings) -> None:
    settings.REGISTRATION = False
    answer = nobody.post("auth/register/", {"username": "new", "password": PASSWORD})
    assert (answer.status, answer.error["code"]) == (403, "permission_denied")


def test_a_name_and_password_give_tokens_and_tokens_give_new_ones(registered: dict, nobody: ApiClient) -> None:
    pair = nobody.post("auth/token/", {"username": "rita", "password": PASSWORD}).data
    assert set(pair) == {"access", "refresh", "expiresAt"}
    renewed = nobody.post("auth/token/refresh/", {"refresh": pair["refresh"]}).data
    assert nobody.get("auth/me/", Authorization=f"Bearer {renewed['access']}").status == 200
    for wrong in (pair["access"], "rubbish"):
        assert nobody.post("auth/token/refresh/", {"refresh": wrong}).status == 401
    assert nobody.get("auth/me/", Authorization=f"Bearer {pair['refresh']}").status == 401


def test_guessing_passwords_becomes_slow(registered: dict, nobody: ApiClient, minute: None) -> None:
    guesses = [nobody.post("auth/token/", {"username": "rita", "password": str(n)}).status for n in range(12)]
    assert guesses == [401] * 10 + [429] * 2
    assert nobody.post("auth/token/", {"username": "rita", "password": PASSWORD}).status == 429
    assert nobody.post("auth/token/", {"username": "other", "password": "x"}).status == 401


@pytest.mark.parametrize(("proxies", "others"), [(1, 401), (0, 429)])
def test_guessing_slows_nobody_else_behind_a_proxy_that_is_trusted(
    nobody: ApiClient, settings: Settings, minute: None, proxies: int, others: int
) -> None:
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": proxies}
    wrong = {"username": "rita", "password": "wrong"}

    def guess(forwarded_for: str) -> int:
        return nobody.post("auth/token/", wrong, **{"X-Forwarded-For": forwarded_for}).status

    assert [guess(f"203.0.113.{n}, 203.0.113.9") for n in range(11)] == [401] * 10 + [429]
    assert guess("203.0.113.9, 198.51.100.7") == others


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_of_a_token_may_be_written_in_any_case(registered: dict, nobody: ApiClient, scheme: str) -> None:
    assert nobody.get("auth/me/", Authorization=f"{scheme} {registered['access']}").status == 200


def test_guessing_many_at_once_gets_no_further(
    registered: dict, nobody: ApiClient, settings: Settings, minute: None
) -> None:
    settings.FAILED_LOGINS_PER_MINUTE = 2

    def guess() -> int:
        return nobody.post("auth/token/", {"username": "rita", "password": "wrong"}).status

    assert sorted(together(*[guess] * 6)) == [401] * 2 + [429] * 4


def test_passwords_that_are_right_count_nothing(
    registered: dict, nobody: ApiClient, settings: Settings, minute: None
) -> None:
    settings.FAILED_LOGINS_PER_MINUTE = 1
    right = {"username": "rita", "password": PASSWORD}
    assert [nobody.post("auth/token/", right).status for _ in range(3)] == [200] * 3
    assert nobody.post("auth/token/", right | {"password": "wrong"}).status == 401
    assert nobody.post("auth/token/", right).status == 429


def test_guessing_one_name_leaves_an_address_its_other_names(
    registered: dict, nobody: ApiClient, settings: Settings, minute: None
) -> None:
    settings.FAILED_LOGINS_PER_MINUTE = 1
    guesses = [nobody.post("auth/token/", {"username": "other", "password": str(n)}).status for n in range(15)]
    assert guesses == [401] + [429] * 14
    assert nobody.post("auth/token/", {"username": "rita", "password": PASSWORD}).status == 200


def test_guessing_at_the_admin_is_guessing_too(nobody: ApiClient, settings: Settings, minute: None) -> None:
    User.objects.create_superuser("root", password=PASSWORD)
    settings.FAILED_LOGINS_PER_MINUTE = 2
    browser = Client()

    def log_in(password: str) -> Any:
        return browser.post("/admin/login/", {"username": "root", "password": password, "next": "/admin/"})

    assert "correct username and password" in log_in("wrong").content.decode()
    assert nobody.post("auth/token/", {"username": "root", "password": "wrong"}).status == 401
    refused = log_in(PASSWORD)
    assert (refused.status_code, browser.get("/admin/").status_code) == (200, 302)
    assert "Too many requests" in refused.content.decode()
    settings.FAILED_LOGINS_PER_MINUTE = 0
    assert log_in(PASSWORD).status_code == 302
    assert browser.get("/admin/").status_code == 200


def test_an_address_signs_in_and_registers_so_often_and_no_more(
    registered: dict, nobody: ApiClient, settings: Settings, minute: None
) -> None:
    settings.LOGINS_PER_MINUTE = 2
    rita, new = {"username": "rita", "password": PASSWORD}, {"username": "new", "password": PASSWORD}

    assert nobody.post("auth/token/", rita).status == 200
    assert nobody.post("auth/register/", new).status == 201
    refused = [nobody.post("auth/token/", rita), nobody.post("auth/register/", new | {"username": "newer"})]
    assert [(answer.status, answer.error["code"]) for answer in refused] == [(429, "throttled")] * 2
    assert {answer.headers["Retry-After"] for answer in refused} == {"30"}
    assert nobody.post("auth/token/refresh/", {"refresh": registered["refresh"]}).status == 200
    settings.LOGINS_PER_MINUTE = 0
    assert nobody.post("auth/token/", rita).status == 200


def test_an_expired_token_is_refused(owner: User, nobody: ApiClient) -> None:
    token = AccessToken.for_user(owner)
    token.set_exp(lifetime=timedelta(seconds=-1))
    assert nobody.get("auth/me/", Authorization=f"Bearer {token}").status == 401


def test_a_token_that_was_good_before_expires_all_the_same(
    registered: dict, nobody: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    bearer = f"Bearer {registered['access']}"
    assert nobody.get("auth/me/", Authorization=bearer).status == 200

    later = clock.now() + timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    refused = nobody.get("auth/me/", Authorization=bearer)

    assert refused.status == 401
    assert refused.error["code"] == "not_authenticated"


def _both(nobody: ApiClient, pair: dict[str, str]) -> list[int]:
    """What the two tokens of a pair are answered."""
    me = nobody.get("auth/me/", Authorization=f"Bearer {pair['access']}")
    return [me.status, nobody.post("auth/token/refresh/", {"refresh": pair["refresh"]}).status]


def test_a_new_password_ends_what_the_old_one_began(registered: dict, nobody: ApiClient) -> None:
    assert _both(nobody, registered) == [200, 200]
    browser = Client()
    browser.login(username="rita", password=PASSWORD)
    user = User.objects.get(username="rita")
    user.set_password("another good one")
    user.save()

    assert _both(nobody, registered) == [401, 401]
    assert browser.get("/api/v1/auth/me/").status_code == 401
    fresh = nobody.post("auth/token/", {"username": "rita", "password": "another good one"}).data
    assert _both(nobody, fresh) == [200, 200]


def test_tokens_from_before_they_knew_the_password_are_refused(owner: User, nobody: ApiClient) -> None:
    refresh = RefreshToken.for_user(owner)
    del refresh["hash_password"]

    assert _both(nobody, {"access": str(refresh.access_token), "refresh": str(refresh)}) == [401, 401]


def test_tokens_of_a_user_whom_no_password_lets_in_are_good(owner: User, nobody: ApiClient) -> None:
    owner.set_unusable_password()
    owner.save()

    assert _both(nobody, tokens.issue(owner)) == [200, 200]


def test_whoever_is_disabled_is_shut_out_everywhere(registered: dict, nobody: ApiClient) -> None:
    user = User.objects.get(username="rita")
    services.disable(user)

    assert nobody.get("auth/me/", Authorization=f"Bearer {registered['access']}").status == 401
    assert nobody.post("auth/token/refresh/", {"refresh": registered["refresh"]}).status == 401
    assert nobody.post("auth/token/", {"username": "rita", "password": PASSWORD}).status == 401
    (revoked,) = events_of(f"control:{user.pk}")
    assert revoked | {"type": "access-revoked", "userId": str(user.pk), "topic": None} == revoked


def test_the_admin_disables_through_the_same_door(registered: dict) -> None:
    User.objects.create_superuser("root", password=PASSWORD)
    user = User.objects.get(username="rita")
    browser = Client()
    browser.login(username="root", password=PASSWORD)
    form = browser.get(f"/admin/accounts/user/{user.pk}/change/").context["adminform"].form
    values = {name: value for name, value in form.initial.items() if value is not None and name != "is_active"}
    values |= {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    response = browser.post(f"/admin/accounts/user/{user.pk}/change/", values)

    assert response.status_code == 302, response.context["adminform"].form.errors
    assert len(events_of(f"control:{user.pk}")) == 1


def test_the_admin_deletes_nobody(registered: dict) -> None:
    User.objects.create_superuser("root", password=PASSWORD)
    user = User.objects.get(username="rita")
    browser = Client()
    browser.login(username="root", password=PASSWORD)
    selected = {"action": "delete_selected", "_selected_action": str(user.pk), "post": "yes"}

    assert browser.post(f"/admin/accounts/user/{user.pk}/delete/", {"post": "yes"}).status_code == 403
    browser.post("/admin/accounts/user/", selected)
    assert User.objects.filter(username="rita").exists()
    assert "/delete/" not in browser.get(f"/admin/accounts/user/{user.pk}/change/").content.decode()


def test_a_session_needs_its_csrf_token(registered: dict) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.login(username="rita", password=PASSWORD)
    assert browser.get("/api/v1/auth/me/").status_code == 200
    refused = browser.post("/api/v1/courses/", {"title": "x"}, "application/json")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")


def test_a_user_is_made_or_updated_from_the_command_line(monkeypatch: pytest.MonkeyPatch, nobody: ApiClient) -> None:
    monkeypatch.setenv("PW", PASSWORD)
    call_command("ensure_user", "cli", "--password-env", "PW", "--superuser", stdout=io.StringIO())
    monkeypatch.setattr("sys.stdin", io.StringIO("another good one\n"))
    call_command("ensure_user", "cli", "--password-stdin", stdout=io.StringIO())

    assert nobody.post("auth/token/", {"username": "cli", "password": "another good one"}).status == 200
    assert User.objects.get(username="cli").is_superuser
    with pytest.raises(CommandError):
        call_command("ensure_user", "cli", "--password-env", "NOT_SET", stdout=io.StringIO())


def _ensure(name: str, *more: str) -> None:
    call_command("ensure_user", name, *more, "--password-env", "PW", stdout=io.StringIO())


def test_a_password_that_stays_the_same_signs_nobody_out(monkeypatch: pytest.MonkeyPatch, nobody: ApiClient) -> None:
    monkeypatch.setenv("PW", PASSWORD)
    _ensure("cli")
    pair = tokens.issue(User.objects.get(username="cli"))
    _ensure("cli")
    assert _both(nobody, pair) == [200, 200]


def test_an_address_given_later_is_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", PASSWORD)
    _ensure("cli", "--email", "old@example.org")
    _ensure("cli", "--email", "new@Example.ORG")
    assert User.objects.get(username="cli").email == "new@example.org"
    _ensure("cli")
    assert User.objects.get(username="cli").email == "new@example.org"


@pytest.mark.parametrize(
    ("name", "more", "field"), [("two words", (), "username"), ("", (), "username"), ("cli", ("--email", "x"), "email")]
)
def test_a_name_or_address_that_is_none_is_refused_as_at_registration(
    monkeypatch: pytest.MonkeyPatch, name: str, more: tuple[str, ...], field: str
) -> None:
    monkeypatch.setenv("PW", PASSWORD)
    with pytest.raises(CommandError, match=field):
        _ensure(name, *more)
    assert not User.objects.exists()
