"""Load, put on by users whose saves take next to no time; and the screen that they look at."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from benchmarks import load, stages, subjects
from benchmarks.subjects import Sample, Saver, Screen
from demo.client import Hear, Json, Listener, Received


@dataclass
class QuickSaver:
    """Notes when it was asked to save."""

    asked_at: list[float] = field(default_factory=list)
    closed: bool = False

    def save(self) -> Sample:
        self.asked_at.append(time.perf_counter())
        time.sleep(0.001)  # so that the others get their turn, as they do while a real save is under way
        return Sample("", 0.0, 0.0, 0.0)

    def close(self) -> None:
        self.closed = True


def quick(number: int) -> tuple[list[QuickSaver], list[Saver]]:
    savers = [QuickSaver() for _ in range(number)]
    return savers, [cast(Saver, saver) for saver in savers]


def test_at_a_steady_pace_each_user_saves_once_in_every_interval_and_all_are_spread_over_it() -> None:
    asked, savers = quick(4)

    began = time.perf_counter()
    samples = load.steadily(savers, seconds=0.4, pause_seconds=0.2)

    assert len(samples) == 8
    assert [len(saver.asked_at) for saver in asked] == [2, 2, 2, 2]
    # Nobody is early; how late they are is the machine's affair.
    assert all(saver.asked_at[0] - began >= 0.05 * number for number, saver in enumerate(asked))


def test_flat_out_everyone_saves_until_the_time_is_over() -> None:
    asked, savers = quick(3)

    samples, rate = load.flat_out(savers, seconds=0.05)

    assert len(samples) == sum(len(saver.asked_at) for saver in asked)
    assert all(saver.asked_at for saver in asked)
    assert 0 < rate <= len(samples) / 0.05


def test_one_save_goes_before_those_that_count_and_connections_are_closed_also_after_a_failure() -> None:
    (saver,), savers = quick(1)

    def fail() -> None:
        with load.at_work(savers):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(saver.asked_at) == 1
    assert saver.closed


class Wire:
    """A connection that a test sends events through."""

    hear: Hear

    def connect(self, hear: Hear) -> Listener:
        self.hear = hear
        return cast(Listener, None)

    def send(self, at: float, **frame: Any) -> None:
        named: Json = {"type": "floor-update", "operationId": "o", **frame}
        self.hear(Received(named, at))


def test_a_screen_knows_what_came_before_it_was_asked() -> None:
    wire = Wire()
    screen = Screen(wire.connect)
    wire.send(1.0, operationId="other")
    wire.send(2.0)
    wire.send(3.0)

    assert screen.wait("o", "floor-update") == 2.0


def test_a_screen_waits_for_the_very_event() -> None:
    wire = Wire()
    screen = Screen(wire.connect)
    waiting = threading.Timer(0.02, lambda: (wire.send(1.0, type="floor-end"), wire.send(2.0)))
    waiting.start()

    assert screen.wait("o", "floor-update") == 2.0


def test_a_screen_says_what_did_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "PATIENCE_SECONDS", 0.01)

    with pytest.raises(TimeoutError, match="No floor-update of o came"):
        Screen(Wire().connect).wait("o", "floor-update")


def test_the_stages_of_a_save_add_up_to_it() -> None:
    sample = Sample("o", sent_at=100.0, answered=0.004, heard=0.020)

    stages_of_it = stages.divide(sample, stored=100.003, begun=100.008, done=100.012)

    beside = stages_of_it.pop("beside it: sent → 202")
    assert beside == 0.004
    assert list(stages_of_it.values()) == pytest.approx([0.003, 0.005, 0.004, 0.008])
    assert sum(stages_of_it.values()) == pytest.approx(sample.heard)


def test_the_sums_of_histograms_are_read_and_of_requests_only_edits_count() -> None:
    text = (
        "# TYPE coursehub_request_seconds histogram\n"
        'coursehub_request_seconds_bucket{le="1",method="PATCH"} 3.0\n'
        'coursehub_request_seconds_sum{method="PATCH",route="a"} 0.25\n'
        'coursehub_request_seconds_sum{method="PATCH",route="b"} 0.5\n'
        'coursehub_request_seconds_sum{method="GET",route="a"} 9.0\n'
        "coursehub_ingest_seconds_count 7.0\n"
    )

    assert stages.sums(text) == {"coursehub_request_seconds_sum": 0.75, "coursehub_ingest_seconds_count": 7.0}
