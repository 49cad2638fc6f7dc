import pytest

from apps.operations.pace import Pace

pytestmark = pytest.mark.pure


def test_batches_shrink_to_what_fits_into_a_moment_and_grow_again() -> None:
    pace = Pace(most=200)
    pace.note(200, 0.7)
    assert pace.steps == 20
    pace.note(20, 0.02)
    assert pace.steps == 40, "never more than twice as many"
    for _ in range(5):
        pace.note(pace.steps, 0.001)
    assert pace.steps == 200


def test_a_few_quick_ones_say_nothing_and_a_few_slow_ones_do() -> None:
    pace = Pace(most=200)
    pace.note(200, 0.14)
    pace.note(3, 0.001)
    pace.note(1, 0.02)
    assert pace.steps == 100
    pace.note(30, 0.14)
    assert pace.steps == 15


def test_however_slow_it_is_some_are_run_at_once() -> None:
    pace, narrow = Pace(most=200), Pace(most=2)
    pace.note(200, 60)
    narrow.note(2, 60)
    assert (pace.steps, narrow.steps) == (10, 2)
