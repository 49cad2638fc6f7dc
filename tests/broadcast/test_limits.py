"""Limits: how many at once, and how fast."""

from broadcast.limits import Pace, Refused, Turnstile


def test_a_burst_is_let_through_and_then_one_at_a_time():
    pace, whole_at_ms, taken = Pace(10, 3), 0.0, []
    for now_ms in (0, 0, 0, 0, 50, 100, 101, 500):
        next_ms = pace.next(whole_at_ms, now_ms)
        taken.append(next_ms is not None)
        whole_at_ms = whole_at_ms if next_ms is None else next_ms
    assert taken == [True, True, True, False, False, True, False, True]


def test_who_has_to_wait_is_told_how_long():
    pace = Pace(2, 1)
    whole_at_ms = pace.next(0, 1000) or 0
    wait_ms = pace.wait_ms(whole_at_ms, 1100)
    assert 400 <= wait_ms <= 402
    assert pace.next(whole_at_ms, 1100 + wait_ms) is not None


def test_so_many_may_be_inside_and_one_who_leaves_makes_room():
    turnstile = Turnstile(at_most=2, per_second=1000)
    assert [turnstile.enter("a", now) for now in (0, 10, 20)] == [None, None, Refused("connections", 0)]
    assert turnstile.enter("b", 20) is None
    turnstile.leave("a")
    assert turnstile.enter("a", 30) is None


def test_who_comes_and_goes_too_fast_is_refused_until_some_time_has_passed():
    turnstile = Turnstile(at_most=2, per_second=1)
    for _ in range(2):
        assert turnstile.enter("a", 0) is None
        turnstile.leave("a")
    refused = turnstile.enter("a", 0)
    assert refused is not None and refused.reason == "connects"
    assert turnstile.enter("a", refused.wait_ms) is None


def test_who_was_here_once_is_forgotten():
    turnstile = Turnstile(at_most=5, per_second=10)
    for number in range(5000):
        assert turnstile.enter(str(number), number * 1000) is None
        turnstile.leave(str(number))
    assert len(turnstile) < 2000
