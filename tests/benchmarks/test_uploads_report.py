from pathlib import Path

import av

from benchmarks.figures import Figures
from benchmarks.uploads import files, report
from benchmarks.uploads.report import Run
from benchmarks.uploads.scenarios import ALONE, DIRECT, ONE, PLAIN, PLAIN_ONE, PROGRESS, THROUGHPUT, TUS

RUN = Run(rounds=2, seconds=12.3, loads=(0.5, 1.5))


def text_of(*notes: tuple[str, str, str, float]) -> str:
    figures = Figures()
    for note in notes:
        figures.note(*note, unit="MiB/s" if note[1] == THROUGHPUT else "ms")
    return report.markdown(figures, RUN, "One file")


def test_ratios_are_those_of_each_round_and_come_before_throughput() -> None:
    text = text_of(
        *((ONE, THROUGHPUT, PLAIN_ONE, value) for value in (50.0, 100.0)),
        *((ONE, THROUGHPUT, PLAIN, value) for value in (100.0, 200.0)),
        *((ONE, THROUGHPUT, TUS, value) for value in (45.0, 70.0)),
        *((ONE, THROUGHPUT, DIRECT, value) for value in (98.0, 196.0)),
    )

    assert "| one file: tus to boto3 with one part at a time | ≥ 0.8 × | 0.80 × | met |" in text
    assert "| one file: tus to boto3 | ≥ 0.5 × | 0.40 × | missed |" in text
    assert "| one file: direct to boto3 | ≥ 0.95 × | 0.98 × | met |" in text
    assert text.index("throughput to boto3 |") < text.index("| throughput |")


def test_what_was_not_measured_has_no_aim() -> None:
    text = text_of((PROGRESS, "p50", ALONE, 101.0))

    assert "| delay of progress, alone, p50 | < 100 ms | 101 ms | missed |" in text
    assert "tus to boto3" not in text and "memory" not in text


def test_the_files_are_videos_of_just_that_size(tmp_path: Path) -> None:
    path = files.make(tmp_path / "film.mp4", 3 * files.MIB + 1)

    assert path.stat().st_size == 3 * files.MIB + 1
    with av.open(str(path)) as film:
        assert film.streams.video[0].width == 64 and film.duration
