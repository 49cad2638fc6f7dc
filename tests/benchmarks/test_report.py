from benchmarks import report, scenarios, stages
from benchmarks.figures import Figures
from benchmarks.report import Run

RUN = Run(rounds=2, seconds=12.3, loads=(0.5, 1.5))


def text_of(*notes: tuple[str, str, str, float]) -> str:
    figures = Figures()
    for note in notes:
        figures.note(*note)
    return report.markdown(figures, RUN)


def test_a_table_has_the_ratio_before_both_figures() -> None:
    text = text_of((scenarios.APART, "p50", "CourseHub", 12.5), (scenarios.APART, "p50", "floor", 5.0))

    assert "| p50 | 2.50 × | 12.5 | 5.00 | ms |" in text


def test_what_only_one_has_is_shown_alone() -> None:
    text = text_of((scenarios.MEMORY, "relay", "CourseHub", 1234.5))

    assert "| relay |  | 1,234.5 |  | ms |" in text


def test_each_aim_that_was_measured_is_met_or_missed() -> None:
    title = (scenarios.SIZES, "title p50")

    text = text_of(
        (scenarios.ALONE, "p50", "CourseHub", 9.99),
        (scenarios.ALONE, "p99", "CourseHub", 30.01),
        (*title, scenarios.LARGE, 13.0),
        (*title, scenarios.SMALL, 9.0),
    )

    assert "| one user, p50 | < 10 ms | 9.99 ms | met |" in text
    assert "| one user, p99 | < 30 ms | 30.01 ms | missed |" in text
    assert "| title among 5,000 videos | < 1.3 × | 1.44 × | missed |" in text
    assert "1,000 changes" not in text


def test_stages_are_a_plain_list() -> None:
    text = text_of((stages.SCENARIO, "queue", "CourseHub", 1.234))

    assert "| queue | 1.23 |" in text


def test_the_run_says_how_it_was_made() -> None:
    text = text_of((scenarios.ALONE, "p50", "CourseHub", 1.0))

    assert "2 rounds in 12 s" in text
    assert "load average 0.5 at first and 1.5 at the end" in text
