"""What a client that says where it stopped gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcast.contracts import frames
from broadcast.resume import Limits, Outcome, Refetch, Request, Resumed, Retained, decide

LIMITS = Limits(replay=100, kept=1000)
EPOCH = 1000
AFTER, BEFORE = EPOCH + 1, EPOCH - 1


def request(
    since: int | None, granted: int = 0, *, at: int = AFTER, resynced: bool = False, emitted: int = 0
) -> Request:
    """Make a request of a ticket that is newer than the history, unless said otherwise."""
    return Request(since, granted, at, resynced, emitted)


def known(last: int, length: int | None = None, since: int | None = None) -> Retained:
    """Make what a history answers that knows the topic."""
    length = last if length is None else length
    replayable = since is not None and since >= last - length
    bodies = [b"%d" % seq for seq in range(since + 1, last + 1)] if replayable else ()
    return Retained(EPOCH, last, length, bodies)


UNKNOWN = Retained(EPOCH, None)


@pytest.mark.parametrize(
    ("asked", "retained", "outcome"),
    [
        (request(None), known(5), Resumed(5, None)),
        (request(5), known(5, since=5), Resumed(5, True, [])),
        (request(3), known(5, since=3), Resumed(5, True, [b"4", b"5"])),
        (request(0), known(2, since=0), Resumed(2, True, [b"1", b"2"])),
        # Trimmed, begun later, or too much at once.
        (request(0), known(2000, 1000, since=0), Refetch(2000, frames.TOO_FAR)),
        (request(0), known(9, 2, since=0), Refetch(9, frames.HISTORY_LOST)),
        (request(7), known(9, 2, since=7), Resumed(9, True, [b"8", b"9"])),
        (request(6), known(9, 2, since=6), Refetch(9, frames.HISTORY_LOST)),
        (request(0), known(101, since=0), Refetch(101, frames.TOO_FAR)),
        (request(0), Retained(EPOCH, 9, 2, is_trimmed=True), Refetch(9, frames.TOO_FAR)),
        # Kept, but too many bytes to be replayed.
        (request(1), Retained(EPOCH, 9, 9), Refetch(9, frames.TOO_FAR)),
        # Committed before the ticket was made, but not delivered yet.
        (request(7, granted=7), known(5), Resumed(7, True)),
        (request(8, granted=7), known(5), Refetch(5, frames.AHEAD)),
        (request(8, granted=7, resynced=True), known(5), Resumed(8, True)),
        # Nothing ever happened, or the topic has been idle for long.
        (request(None, granted=4), UNKNOWN, Resumed(4, None)),
        (request(None, granted=4, emitted=6), UNKNOWN, Resumed(6, None)),
        (request(0, granted=0), UNKNOWN, Resumed(0, True)),
        (request(4, granted=4), UNKNOWN, Resumed(4, True)),
        (request(3, granted=4), UNKNOWN, Refetch(4, frames.HISTORY_LOST)),
        (request(5, granted=4), UNKNOWN, Refetch(4, frames.AHEAD)),
        # The ticket is older than the history: between the two something may have been lost.
        (request(4, granted=4, at=BEFORE), UNKNOWN, Refetch(4, frames.HISTORY_LOST)),
        (request(4, granted=4, at=EPOCH), UNKNOWN, Refetch(4, frames.HISTORY_LOST)),
        (request(4, granted=4, at=BEFORE, resynced=True), UNKNOWN, Resumed(4, True)),
        (request(6, granted=4, at=BEFORE, resynced=True), UNKNOWN, Resumed(6, True)),
    ],
)
def test_decisions(asked: Request, retained: Retained, outcome: Outcome):
    assert decide(asked, retained, LIMITS) == outcome


@given(
    last=st.none() | st.integers(0, 3000),
    length=st.integers(0, 1000),
    granted=st.integers(0, 3000),
    before=st.integers(0, 50),
    meanwhile=st.integers(0, 3),
    at=st.sampled_from([AFTER, BEFORE]),
)
def test_who_obeys_the_rule_is_told_to_refetch_at_most_once(
    last: int | None, length: int, granted: int, before: int, meanwhile: int, at: int
):
    """An outline is never older than the ticket, nor than what the history has."""
    outline = max(granted - before, 0)
    retained = Retained(EPOCH, last, min(length, last or 0))
    if isinstance(decide(request(outline, granted, at=at), retained, LIMITS), Refetch):
        outline = max(granted, last or 0) + meanwhile
        again = request(outline, granted, at=at, resynced=True)
        assert isinstance(decide(again, retained, LIMITS), Resumed)


@given(last=st.integers(0, 300), length=st.integers(0, 300), since=st.integers(0, 400), granted=st.integers(0, 400))
def test_a_resume_is_complete_or_a_refetch(last: int, length: int, since: int, granted: int):
    length = min(length, last)
    outcome = decide(request(since, granted), known(last, length, since), LIMITS)
    if isinstance(outcome, Resumed):
        assert [int(body) for body in outcome.bodies] == list(range(since + 1, outcome.seq + 1))
