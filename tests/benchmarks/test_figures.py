import pytest

from benchmarks.figures import Figures
from benchmarks.subjects import Sample


def test_a_figure_is_the_median_of_its_rounds() -> None:
    figures = Figures()
    for value in (3.0, 100.0, 2.0):
        figures.note("one user", "p50", "CourseHub", value)

    series = figures.find("one user", "p50", "CourseHub")

    assert series is not None
    assert (series.rounds, series.value) == ([3.0, 100.0, 2.0], 3.0)


def test_a_ratio_is_taken_round_by_round_so_that_a_slow_round_slows_both() -> None:
    figures = Figures()
    for ours, floor in ((20.0, 10.0), (200.0, 100.0), (30.0, 10.0)):
        figures.note("one user", "p50", "CourseHub", ours)
        figures.note("one user", "p50", "floor", floor)

    assert figures.ratio("one user", "p50", "CourseHub", "floor") == 2.0


def test_there_is_no_ratio_to_what_was_not_measured() -> None:
    figures = Figures()
    figures.note("one user", "p50", "CourseHub", 1.0)

    assert figures.ratio("one user", "p50", "CourseHub", "floor") is None


def test_samples_become_percentiles_in_milliseconds() -> None:
    figures = Figures()
    samples = [Sample("", 0.0, answered=0.001, heard=number / 1000) for number in range(101)]

    figures.note_times("one user", "floor", samples)

    found = {series.figure: series.value for series in figures.scenarios()["one user"]}
    assert found == pytest.approx({"p50": 50.0, "p95": 95.0, "p99": 99.0, "202 p50": 1.0})
