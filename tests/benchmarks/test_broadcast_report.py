import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.broadcast import aims, connecting, fanning, ingesting, model, plot, report
from benchmarks.broadcast.model import Costs, FiguresMissing, Load
from benchmarks.broadcast.peers.ours import CourseHub
from benchmarks.figures import Figures

OURS = CourseHub.name
COSTS = Costs(
    delivery_us=5,
    taking_us=200,
    taking_batched_us=20,
    relaying_us=50,
    redis_us=100,
    redis_relaying_us=10,
    redis_batched_us=2,
    connecting_us=200,
    connection_bytes=12_000,
)


def figures_of(*notes: tuple[str, str, str, float]) -> Figures:
    figures = Figures()
    for note in notes:
        figures.note(*note, unit="×")
    return figures


def a_whole_run() -> dict[tuple[str, str, str], float]:
    many = 10_000
    return {
        (fanning.fan_out_title(many), "CPU a delivery", OURS): 5,
        (fanning.fan_out_title(fanning.FEW), "CPU a delivery", fanning.DURABLE): 5.5,
        (ingesting.PROCESSES, "taking it", "1 process, durable"): 200,
        (ingesting.PROCESSES, "each that delivers it", "2 processes, durable"): 50,
        (ingesting.PROCESSES, "Valkey", "1 process, durable"): 100,
        (ingesting.PROCESSES, "Valkey", "2 processes, durable"): 110,
        (ingesting.HISTORY, "CPU an event", OURS): 20,
        (ingesting.HISTORY, "Valkey's CPU an event", OURS): 2,
        (connecting.connecting_title(many), "CPU each", OURS): 200,
        (connecting.resuming_title(many), "CPU each", OURS): 900,
        (connecting.MEMORY, "a connection", OURS): 12,
    }


@pytest.mark.parametrize(("measured", "verdict"), [(1.1, "met"), (1.15, "met"), (1.16, "missed")])
def test_an_aim_that_is_not_reached_is_said_to_be_missed(measured: float, verdict: str) -> None:
    figures = figures_of((fanning.fan_out_title(1_000), "CPU to the limit's", OURS, measured))

    (row,) = [row for row in aims.rows(figures, 10_000) if "to the limit" in row]

    assert row.endswith(f"| {verdict} |")


def test_a_stretched_aim_tells_three_outcomes_apart() -> None:
    rows = [aims.rows(figures_of((ingesting.INGEST, "events", OURS, value)), 10_000) for value in (9e3, 3e4, 5e4)]

    assert [row[0].rsplit("| ", 1)[1] for row in rows] == ["missed |", "met |", "stretch met |"]


def test_a_round_that_failed_for_one_leaves_a_ratio_of_medians() -> None:
    figures = figures_of(
        (fanning.MANY_TOPICS, "events", OURS, 30.0),
        (fanning.MANY_TOPICS, "events", "nchan", 10.0),
        (fanning.MANY_TOPICS, "events", "nchan", 20.0),
    )

    (row,) = aims.rows(figures, 10_000)

    assert row.endswith("| 2 × | met |")


def test_growth_is_the_worst_rise_from_a_smaller_size_to_a_larger_one() -> None:
    sizes = ((100, 8.0), (1_000, 4.0), (10_000, 6.0), (20_000, 5.0))
    figures = figures_of(*((fanning.GROWTH, f"{size:,} clients", OURS, cost) for size, cost in sizes))

    assert aims.rise(" clients")(figures) == 1.5


def test_the_plot_is_a_picture_with_everyone_who_was_measured() -> None:
    scenario = fanning.fan_out_title(1_000)
    figures = figures_of((scenario, "CPU to the limit's", OURS, 1.2), (scenario, "CPU to the limit's", "nchan", 150.0))

    drawn = ElementTree.fromstring(plot.svg(figures))  # noqa: S314 - our own

    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {OURS, "nchan", "1.20 ×", "150.00 × »"} <= set(texts)
    widths = [float(bar.get("width", 0)) for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")]
    assert max(widths) <= 800


def test_publishing_again_replaces_what_was_published(tmp_path: Path) -> None:
    document, picture, kept = tmp_path / "doc.md", tmp_path / "plot.svg", tmp_path / "run.md"
    document.write_text(f"Before\n{report.BEGIN}\nold\n{report.END}\nAfter\n")
    kept.with_suffix(".svg").write_text("<svg/>")

    for text in ("one\n", "two\n"):
        kept.write_text(text)
        report.publish(kept, document, picture)

    assert document.read_text() == f"Before\n{report.BEGIN}\ntwo\n{report.END}\nAfter\n"
    assert picture.read_text() == "<svg/>"


def test_only_a_whole_run_feeds_the_model(tmp_path: Path) -> None:
    figures = figures_of(("a", "b", "c", 1.0))

    report.save(figures, "part", tmp_path, whole=False)
    assert not (tmp_path / report.LATEST).exists()
    report.save(figures, "whole", tmp_path, whole=True)
    assert json.loads((tmp_path / report.LATEST).read_text())[0]["median"] == 1.0


def test_both_documents_have_a_place_for_what_is_published() -> None:
    assert report.DOCUMENT.read_text().count(report.BEGIN) == report.DOCUMENT.read_text().count(report.END) == 1
    assert model.DOCUMENT.read_text().count(model.BEGIN) == model.DOCUMENT.read_text().count(model.END) == 1


def test_a_model_without_its_figures_says_which_are_missing() -> None:
    figures = a_whole_run()
    del figures[connecting.MEMORY, "a connection", OURS]

    with pytest.raises(FiguresMissing, match="memory of an idle connection"):
        model.costs(figures)


def test_the_model_finds_its_costs_in_a_whole_run_and_marks_what_was_never_run() -> None:
    assert model.costs(a_whole_run()) == COSTS

    text = model.markdown(a_whole_run())

    assert "| 10,000 | 250 | 5,000 |" in text
    assert "| 1,000,000 * |" in text
    assert "| 1,000 clients, durable: CPU a delivery | 5.20 | 5.50 | 0.95 × |" in text


def test_one_process_is_enough_until_its_share_of_a_core_is_used() -> None:
    load = Load(listeners=20, events_a_second=1, busy=0.6, connections_a_process=100_000)

    # An event costs 200 + 20 × 5 = 300 µs at one process: 2,000 a second fill 0.6 of a core, of 40,000 connections.
    assert model.needs(40_000, COSTS, load).processes == 1
    assert model.needs(40_020, COSTS, load).processes == 2


def test_an_event_reaches_at_most_as_many_processes_as_its_course_has_listeners() -> None:
    need = model.needs(10_000_000, COSTS, Load(listeners=20))

    assert need.processes > 500
    assert 19 < need.reached <= 20
    assert need.history_cores == pytest.approx(need.events * 100 / 1e6)
    assert need.message_cores == pytest.approx(need.events * (need.reached - 1) * 10 / 1e6)


def test_no_process_gets_more_connections_than_were_measured() -> None:
    assert model.needs(1_000_000, COSTS, Load(events_a_second=0.001)).processes == 50
