"""One client's side of the protocol, without sockets or clocks."""

import dataclasses
import json
from typing import Any

import pytest

from broadcast import session as sessions
from broadcast.contracts import tickets, topics
from broadcast.contracts.tickets import LIFETIME_SECONDS, Ticket
from broadcast.limits import Pace
from broadcast.resume import Refetch, Resumed
from broadcast.revocations import Revocation, Revocations
from broadcast.session import Close, Effect, Join, Leave, Send, Session, Terms

SECRET = "the secret of these tests, long enough"
USER = "01890a5d-ac96-774b-bcce-b302099a8057"
STRANGER = "01890a5d-ac96-774b-bcce-b302099a8058"
OWN = topics.user(USER)
COURSE = topics.course("01890a5d-ac96-774b-bcce-b302099a8059")
OTHER = topics.course("01890a5d-ac96-774b-bcce-b302099a8060")
NOW = 1_760_000_000_000
LIFETIME = LIFETIME_SECONDS * 1000


def sign(*granted: str, user_id: str = USER, at: int = NOW, secret: str = SECRET) -> str:
    """Sign a ticket."""
    return tickets.issue(secret=secret, user_id=user_id, seqs=dict.fromkeys(granted, 3), now_ms=at)[0]


@pytest.fixture
def terms() -> Terms:
    """What all sessions have in common."""
    return Terms(
        read_ticket=lambda text, now_ms: tickets.read(text, secret=SECRET, now_ms=now_ms),
        revocations=Revocations(),
        heartbeat_seconds=25,
        expiring_ms=60_000,
        topics_per_connection=2,
    )


def open_session(terms: Terms, *granted: str, at: int = NOW) -> Session:
    """Open a session with a ticket."""
    ticket = sessions.admit(sign(*granted, at=at), terms, at)
    assert isinstance(ticket, Ticket)
    return Session(ticket, connection_id="c-1", terms=terms)


def say(session: Session, type_: str, *, now: int = NOW, **members: Any) -> list[Effect]:
    """Let the client send a frame."""
    return session.receive(json.dumps({"type": type_, **members}), now)


def error_of(effects: list[Effect]) -> str:
    """Read the code of the one error."""
    (effect,) = effects
    assert isinstance(effect, Send)
    assert effect.frame["type"] == "error"
    assert effect.frame["message"]
    return str(effect.frame["code"])


def test_a_session_opens_with_welcome_and_the_users_own_topic(terms: Terms):
    welcome, join = open_session(terms, OWN, COURSE).open(since=7)
    assert welcome == Send(
        {
            "type": "welcome",
            "connectionId": "c-1",
            "userId": USER,
            "topics": [OWN, COURSE],
            "heartbeatSeconds": 25,
            "expiresAt": NOW + LIFETIME,
        }
    )
    assert join == Join(OWN, 7)


@pytest.mark.parametrize(
    ("text", "close"),
    [
        (None, sessions.NO_TICKET),
        ("garbage", sessions.NO_TICKET),
        (sign(OWN, secret="another secret, as long as the first"), sessions.NO_TICKET),
        (sign(OWN, at=NOW - LIFETIME), sessions.EXPIRED),
    ],
)
def test_who_has_no_valid_ticket_is_not_admitted(terms: Terms, text: str | None, close: Close):
    assert sessions.admit(text, terms, NOW) is close


def test_a_disabled_user_is_not_admitted_with_a_ticket_from_before(terms: Terms):
    terms.revocations.add(Revocation(USER, None, NOW), now_ms=NOW)
    assert sessions.admit(sign(OWN), terms, NOW) is sessions.USER_DISABLED
    assert isinstance(sessions.admit(sign(OWN, at=NOW + 1), terms, NOW + 1), Ticket)


def test_subscribe_joins_what_the_ticket_grants_and_nothing_else(terms: Terms):
    session = open_session(terms, OWN, COURSE)
    assert say(session, "subscribe", topic=COURSE, since=4) == [Join(COURSE, 4)]
    assert say(session, "subscribe", topic=COURSE) == [Join(COURSE, None)]
    assert error_of(say(session, "subscribe", topic=OTHER)) == "permission_denied"
    assert error_of(say(session, "subscribe", topic="x")) == "invalid_topic"


def test_a_subscribe_with_its_own_ticket_extends_the_grants(terms: Terms):
    session = open_session(terms, OWN)
    assert say(session, "subscribe", topic=COURSE, ticket=sign(COURSE, OTHER)) == [Join(COURSE, None)]
    assert session.grant(OTHER) is not None


def test_an_older_ticket_does_not_shorten_a_grant(terms: Terms):
    session = open_session(terms, OWN, COURSE)
    say(session, "subscribe", topic=COURSE, ticket=sign(COURSE, at=NOW - 1000))
    assert session.grant(COURSE).expires_at_ms == NOW + LIFETIME
    say(session, "subscribe", topic=COURSE, ticket=sign(COURSE, at=NOW + 1000), now=NOW + 1000)
    assert session.grant(COURSE).expires_at_ms == NOW + LIFETIME + 1000


def test_a_connection_hears_only_so_many_topics(terms: Terms):
    session = open_session(terms, OWN, COURSE, OTHER)
    session.open(None)
    say(session, "subscribe", topic=COURSE)
    assert error_of(say(session, "subscribe", topic=OTHER)) == "too_many_topics"
    assert say(session, "subscribe", topic=COURSE) == [Join(COURSE, None)]
    say(session, "unsubscribe", topic=COURSE)
    assert say(session, "subscribe", topic=OTHER) == [Join(OTHER, None)]


def test_unsubscribe_is_answered_whether_or_not_there_was_a_subscription(terms: Terms):
    session = open_session(terms, OWN)
    for _ in range(2):
        assert say(session, "unsubscribe", topic=OWN) == [Leave(OWN), Send({"type": "unsubscribed", "topic": OWN})]


def test_refresh_replaces_the_ticket(terms: Terms):
    session = open_session(terms, OWN, COURSE)
    session.open(None)
    say(session, "subscribe", topic=COURSE)
    effects = say(session, "refresh", ticket=sign(OWN, OTHER, at=NOW + 5), now=NOW + 5)
    assert effects == [
        Send({"type": "refreshed", "expiresAt": NOW + 5 + LIFETIME, "topics": [OWN, OTHER]}),
        Leave(COURSE),
        Send({"type": "unsubscribed", "topic": COURSE, "code": "not_in_ticket"}),
    ]
    assert session.tick(NOW + LIFETIME) == [Send({"type": "expiring", "expiresAt": NOW + 5 + LIFETIME})]


def test_each_ticket_is_announced_to_expire(terms: Terms):
    session = open_session(terms, OWN)
    session.tick(NOW + LIFETIME - 60_000)
    refreshed_at = NOW + LIFETIME - 50_000
    say(session, "refresh", ticket=sign(OWN, at=refreshed_at), now=refreshed_at)
    assert session.deadline_ms == refreshed_at + LIFETIME - 60_000
    assert session.tick(session.deadline_ms) == [Send({"type": "expiring", "expiresAt": refreshed_at + LIFETIME})]


def test_refresh_forgets_what_tickets_of_subscriptions_granted(terms: Terms):
    session = open_session(terms, OWN)
    for topic in (COURSE, OTHER):
        say(session, "subscribe", topic=topic, ticket=sign(topic))
    effects = say(session, "refresh", ticket=sign(OWN, OTHER, at=NOW + 5), now=NOW + 5)
    assert effects == [
        Send({"type": "refreshed", "expiresAt": NOW + 5 + LIFETIME, "topics": [OWN, OTHER]}),
        Leave(COURSE),
        Send({"type": "unsubscribed", "topic": COURSE, "code": "not_in_ticket"}),
    ]
    assert error_of(say(session, "subscribe", topic=COURSE, now=NOW + 5)) == "permission_denied"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (sign(topics.user(STRANGER), COURSE, user_id=STRANGER), "foreign_ticket"),
        (sign(COURSE, at=NOW - LIFETIME), "expired_ticket"),
        (sign(COURSE, secret="another secret, as long as the first"), "invalid_ticket"),
        ("\u0000", "invalid_ticket"),
    ],
)
def test_tickets_that_do_not_count_change_nothing(terms: Terms, text: str, code: str):
    session = open_session(terms, OWN)
    assert error_of(say(session, "subscribe", topic=COURSE, ticket=text)) == code
    assert error_of(say(session, "refresh", ticket=text)) == code
    assert (session.grant(COURSE), session.deadline_ms) == (None, NOW + LIFETIME - 60_000)


def test_a_ticket_is_announced_to_expire_once_and_then_does(terms: Terms):
    session = open_session(terms, OWN)
    expires_at = NOW + LIFETIME
    assert session.deadline_ms == expires_at - 60_000
    assert session.tick(expires_at - 60_001) == []
    assert session.tick(expires_at - 60_000) == [Send({"type": "expiring", "expiresAt": expires_at})]
    assert session.tick(expires_at - 1) == []
    assert session.deadline_ms == expires_at
    assert session.tick(expires_at) == [sessions.EXPIRED]


def test_a_grant_ends_with_the_ticket_that_gave_it(terms: Terms):
    session = open_session(terms, OWN, at=NOW)
    say(session, "subscribe", topic=COURSE, ticket=sign(COURSE, at=NOW - 100_000))
    assert session.deadline_ms == NOW + LIFETIME - 100_000
    assert session.tick(NOW + LIFETIME - 100_000) == [
        Leave(COURSE),
        Send({"type": "unsubscribed", "topic": COURSE, "code": "ticket_expired"}),
    ]
    assert session.grant(COURSE) is None


def test_withdrawn_access_takes_one_topic(terms: Terms):
    session = open_session(terms, OWN, COURSE)
    say(session, "subscribe", topic=COURSE)
    assert session.withdraw(Revocation(USER, COURSE, NOW - 1)) == []
    assert session.withdraw(Revocation(USER, COURSE, NOW)) == [
        Leave(COURSE),
        Send({"type": "unsubscribed", "topic": COURSE, "code": "access_withdrawn"}),
    ]
    assert session.withdraw(Revocation(USER, COURSE, NOW)) == []
    assert error_of(say(session, "subscribe", topic=COURSE)) == "permission_denied"


def test_withdrawn_access_to_what_is_not_heard_is_silent(terms: Terms):
    session = open_session(terms, OWN, COURSE)
    assert session.withdraw(Revocation(USER, COURSE, NOW)) == []
    assert session.grant(COURSE) is None


def test_a_ticket_from_before_a_withdrawal_grants_nothing_it_took(terms: Terms):
    session = open_session(terms, OWN, at=NOW + 10)
    terms.revocations.add(Revocation(USER, COURSE, NOW + 5), now_ms=NOW + 5)
    assert error_of(say(session, "subscribe", topic=COURSE, ticket=sign(COURSE))) == "permission_denied"
    say(session, "refresh", ticket=sign(OWN, COURSE), now=NOW + 10)
    assert session.grant(COURSE) is None
    assert say(session, "subscribe", topic=COURSE, ticket=sign(COURSE, at=NOW + 6), now=NOW + 10) == [
        Join(COURSE, None)
    ]


def test_a_disabled_user_is_closed(terms: Terms):
    session = open_session(terms, OWN)
    assert session.withdraw(Revocation(USER, None, NOW - 1)) == []
    assert session.withdraw(Revocation(USER, None, NOW)) == [sessions.USER_DISABLED]
    terms.revocations.add(Revocation(USER, None, NOW), now_ms=NOW)
    assert say(session, "refresh", ticket=sign(OWN)) == [sessions.USER_DISABLED]


def test_how_a_subscription_began_is_told_and_a_refetch_remembered(terms: Terms):
    session = open_session(terms, OWN)
    assert session.joined(OWN, Refetch(9, "too_far"), 1) == {
        "type": "resync",
        "topic": OWN,
        "seq": 9,
        "reason": "too_far",
    }
    assert session.was_resynced(OWN, 1)
    assert not session.was_resynced(OWN, 2)
    assert not session.was_resynced(COURSE, 1)
    assert session.joined(OWN, Resumed(9, True, [b"8", b"9"]), 1) == {
        "type": "subscribed",
        "topic": OWN,
        "seq": 9,
        "recovered": True,
        "replayed": 2,
    }


def test_a_subscription_that_could_not_begin_is_an_error(terms: Terms):
    session = open_session(terms, OWN, COURSE, OTHER)
    session.open(None)
    say(session, "subscribe", topic=COURSE)
    assert error_of(session.join_failed(COURSE, goes_on=True)) == "unavailable"
    assert error_of(say(session, "subscribe", topic=OTHER)) == "too_many_topics"
    session.join_failed(COURSE, goes_on=False)
    assert say(session, "subscribe", topic=OTHER) == [Join(OTHER, None)]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"type":"x"}', '{"type":"subscribe"}'])
def test_what_is_no_frame_breaks_the_protocol(terms: Terms, text: str):
    (effect,) = open_session(terms, OWN).receive(text, NOW)
    assert isinstance(effect, Close)
    assert (effect.code, effect.retry_after_ms) == (4004, None)


def test_a_binary_frame_breaks_the_protocol(terms: Terms):
    (effect,) = open_session(terms, OWN).receive_binary()
    assert isinstance(effect, Close)
    assert effect.code == 4004


def test_a_ping_is_answered(terms: Terms):
    assert say(open_session(terms, OWN), "ping", more="ignored") == [Send({"type": "pong"})]


def test_a_ticket_without_the_users_own_topic_opens_without_it(terms: Terms):
    assert len(open_session(terms, COURSE).open(None)) == 1


@pytest.fixture
def limited(terms: Terms) -> tuple[Terms, list[str]]:
    """Terms with a low pace, and what was told of it."""
    told: list[str] = []
    pace = Pace(1, 3)
    return dataclasses.replace(terms, frame_pace=pace, subscribe_pace=Pace(1, 1), on_limited=told.append), told


def test_frames_over_the_pace_are_ignored_with_one_error_a_second(limited: tuple[Terms, list[str]]):
    terms, told = limited
    session = open_session(terms)
    answers = [say(session, "ping") for _ in range(5)]
    assert [len(effects) for effects in answers] == [1, 1, 1, 1, 0]
    assert answers[3][0].frame["code"] == "rate_limited"
    assert told == ["frames", "frames"]
    assert say(session, "ping", now=NOW + 1000)[0].frame["type"] == "pong"


def test_a_client_that_goes_on_sending_is_closed(limited: tuple[Terms, list[str]]):
    session = open_session(limited[0])
    effects = [effect for _ in range(7) for effect in say(session, "ping")]
    assert effects[-1] == sessions.TOO_FAST


def test_a_client_that_goes_on_sending_a_little_too_fast_is_closed(limited: tuple[Terms, list[str]]):
    session = open_session(limited[0])
    effects = [effect for at in range(0, 20_000, 500) for effect in say(session, "ping", now=NOW + at)]
    assert sessions.TOO_FAST in effects


def test_what_was_ignored_is_forgotten_when_the_allowance_is_whole_again(limited: tuple[Terms, list[str]]):
    session = open_session(limited[0])
    effects = [effect for at in (0, 4000, 8000) for _ in range(6) for effect in say(session, "ping", now=NOW + at)]
    assert sessions.TOO_FAST not in effects


def test_subscriptions_over_the_pace_are_refused_and_the_connection_stays(limited: tuple[Terms, list[str]]):
    terms, told = limited
    session = open_session(terms, COURSE)
    assert isinstance(say(session, "subscribe", topic=COURSE)[0], Join)
    (refused,) = say(session, "subscribe", topic=COURSE)
    assert (refused.frame["code"], refused.frame["topic"]) == ("rate_limited", COURSE)
    assert told == ["subscribes"]
    assert isinstance(say(session, "subscribe", topic=COURSE, now=NOW + 1000)[0], Join)
