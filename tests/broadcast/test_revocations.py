"""Access that was withdrawn."""

import pytest

from broadcast import revocations
from broadcast.revocations import LIFETIME_MS, Revocation, Revocations
from tests.support.broadcast_fakes import TOPIC
from tests.support.broadcast_process import revocation

USER = "01890a5d-ac96-774b-bcce-b302099a8057"


def test_the_flat_form_names_the_topic_that_is_withdrawn():
    assert revocations.from_event(revocation(USER, TOPIC, 5)) == Revocation(USER, TOPIC, 5)
    assert revocations.from_event(revocation(USER, None, 5)) == Revocation(USER, None, 5)


def test_in_an_envelope_it_is_the_topic_of_the_data():
    posted = {
        "type": "access-revoked",
        "topic": f"user:{USER}",
        "userId": USER,
        "timestamp": 9,
        "data": {"topic": TOPIC, "before": 5},
    }
    assert revocations.is_control(posted)
    assert revocations.from_event(posted) == Revocation(USER, TOPIC, 5)


@pytest.mark.parametrize(
    "change",
    [
        {"userId": None},
        {"userId": "x"},
        {"topic": "x"},
        {"topic": 5},
        {"before": None},
        {"before": "5"},
        {"before": -1},
        {"before": True},
    ],
)
def test_other_shapes_are_refused(change: dict[str, object]):
    with pytest.raises(ValueError):
        revocations.from_event(revocation(USER, TOPIC, 5) | change)


def test_a_missing_topic_does_not_mean_all_topics():
    posted = revocation(USER, None, 5)
    del posted["topic"]
    with pytest.raises(ValueError, match="topic"):
        revocations.from_event(posted)


def test_tickets_from_before_are_withdrawn_and_later_ones_are_not():
    memory = Revocations()
    assert memory.add(Revocation(USER, TOPIC, 100), now_ms=100)
    assert [memory.withdraw(USER, TOPIC, issued_at_ms=at) for at in (99, 100, 101)] == [True, True, False]
    assert not memory.withdraw(USER, None, issued_at_ms=1)
    assert not memory.withdraw("somebody else", TOPIC, issued_at_ms=1)


def test_an_older_withdrawal_says_nothing_new():
    memory = Revocations()
    memory.add(Revocation(USER, TOPIC, 100), now_ms=100)
    assert not memory.add(Revocation(USER, TOPIC, 100), now_ms=200)
    assert not memory.add(Revocation(USER, TOPIC, 50), now_ms=200)
    assert memory.add(Revocation(USER, TOPIC, 150), now_ms=200)
    assert memory.withdraw(USER, TOPIC, issued_at_ms=120)


@pytest.mark.parametrize(("before", "heard"), [(100, 150), (150, 100)])
def test_what_no_living_ticket_can_be_from_before_is_forgotten(before: int, heard: int):
    memory = Revocations()
    memory.add(Revocation(USER, TOPIC, before), now_ms=heard)
    memory.forget_expired(now_ms=150 + LIFETIME_MS - 1)
    assert memory.all() == [Revocation(USER, TOPIC, before)]
    memory.forget_expired(now_ms=150 + LIFETIME_MS)
    assert len(memory) == 0


@pytest.mark.parametrize("topic", [TOPIC, None])
def test_it_is_encoded_and_decoded(topic: str | None):
    assert revocations.decode(Revocation(USER, topic, 5).encode()) == Revocation(USER, topic, 5)
