"""Tickets."""

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcast.contracts import tickets, topics
from broadcast.contracts.tickets import ExpiredTicket, InvalidTicket

SECRET = "the secret of these tests, long enough"
USER = "01890a5d-ac96-774b-bcce-b302099a8057"
NOW = 1_760_000_000_123


def test_what_was_issued_is_read():
    text, issued = tickets.issue(secret=SECRET, user_id=USER, seqs={topics.user(USER): 7}, now_ms=NOW)
    assert tickets.read(text, secret=SECRET, now_ms=NOW) == issued
    assert issued.expires_at_ms == NOW + 600_000


def test_a_ticket_expires_to_the_millisecond():
    text, issued = tickets.issue(secret=SECRET, user_id=USER, seqs={}, now_ms=NOW)
    tickets.read(text, secret=SECRET, now_ms=issued.expires_at_ms - 1)
    with pytest.raises(ExpiredTicket):
        tickets.read(text, secret=SECRET, now_ms=issued.expires_at_ms)


def _claims(**change: object) -> dict[str, object]:
    claims = {"aud": "coursehub.broadcast", "sub": USER, "iat": NOW / 1000, "exp": NOW / 1000 + 600, "topics": {}}
    return {key: value for key, value in {**claims, **change}.items() if value is not ...}


@pytest.mark.parametrize(
    "claims",
    [
        _claims(aud="another service"),
        _claims(aud=...),
        _claims(sub=...),
        _claims(sub="x"),
        _claims(sub=5),
        _claims(iat=...),
        _claims(iat="now"),
        _claims(exp=...),
        _claims(exp=[]),
        _claims(exp=float("inf")),
        _claims(iat=float("nan")),
        _claims(topics=...),
        _claims(topics=[]),
        _claims(topics={"course:x": 1}),
        _claims(topics={topics.user(USER): "x"}),
        _claims(topics={topics.user(USER): None}),
        _claims(topics={topics.user(USER): float("inf")}),
    ],
    ids=str,
)
def test_tickets_of_another_shape_are_invalid(claims: dict[str, object]):
    try:
        text = jwt.encode(claims, SECRET, algorithm="HS256")
    except TypeError:
        pytest.fail("this cannot be a token at all")
    with pytest.raises(InvalidTicket):
        tickets.read(text, secret=SECRET, now_ms=NOW)


@pytest.mark.parametrize("header", [None, {"kid": "of another service"}])
def test_a_ticket_that_cannot_be_read_to_its_end_is_invalid(header: dict[str, str] | None):
    text = jwt.api_jws.encode(b"[" * 100_000, SECRET, algorithm="HS256", headers=header)
    with pytest.raises(InvalidTicket):
        tickets.read(text, secret=SECRET, now_ms=NOW)


def test_other_algorithms_are_invalid():
    for algorithm, secret in (("none", ""), ("HS512", SECRET * 2)):
        text = jwt.encode(_claims(), secret, algorithm=algorithm)
        with pytest.raises(InvalidTicket):
            tickets.read(text, secret=secret or SECRET, now_ms=NOW)


@given(st.text())
def test_no_text_does_more_than_be_invalid(text: str):
    with pytest.raises(InvalidTicket):
        tickets.read(text, secret=SECRET, now_ms=NOW)


@given(st.integers(0, 200), st.characters())
def test_a_changed_ticket_is_invalid(index: int, character: str):
    text, issued = tickets.issue(secret=SECRET, user_id=USER, seqs={topics.user(USER): 7}, now_ms=NOW)
    index %= len(text)
    changed = text[:index] + character + text[index + 1 :]
    try:
        assert tickets.read(changed, secret=SECRET, now_ms=NOW) == issued
    except InvalidTicket:
        assert changed != text
