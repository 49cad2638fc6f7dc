import io

import pytest
from rich.console import Console

from demo.board import Board, LiveBoard, PlainBoard
from demo.client import Json
from demo.timing import percentile


def event(seq: int, title: str = "A title") -> Json:
    return {"type": "chapter-update-complete", "courseId": "1", "seq": seq, "data": {"newTitle": title}}


def text_of(board: Board) -> str:
    assert isinstance(board.console.file, io.StringIO)
    return board.console.file.getvalue()


def console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=140, force_terminal=terminal)


def hear_all(board: Board, *seqs: int) -> None:
    for seq in seqs:
        for screen, seconds in (("tab 1", 0.010), ("tab 2", 0.012), ("phone", None)):
            board.hear(screen, event(seq), "B1 edit", seconds)


def test_without_a_terminal_each_event_is_a_line_with_its_times() -> None:
    board = PlainBoard(console())
    board.begin("B1 edit")
    hear_all(board, 1)
    board.settle()

    head, line = text_of(board).splitlines()

    assert head == "B1 edit"
    assert " ".join(line.split()) == "chapter-update-complete A title course 1 tab 1 10.0 tab 2 12.0 phone replayed"


def test_without_a_terminal_the_middle_of_a_long_save_is_only_counted() -> None:
    board = PlainBoard(console())
    hear_all(board, *range(1, 101))
    board.settle()

    lines = text_of(board).splitlines()

    assert len(lines) == 5
    assert "96 more" in lines[2]


def test_on_a_terminal_the_table_shows_the_newest_events() -> None:
    board = LiveBoard(console(terminal=True))
    with board.live:
        hear_all(board, *range(1, 41))

    assert "course 40" in text_of(board)
    assert "course 7 " not in text_of(board)


def test_an_event_that_comes_twice_keeps_its_first_time() -> None:
    board = Board(console())
    board.hear("tab 1", event(1), "B1 edit", 0.010)
    board.hear("tab 1", event(1), "B1 edit", 0.500)

    assert board.rows()[0].times == [0.010]


def test_the_summary_leaves_replayed_events_out_of_the_times() -> None:
    board = Board(console())
    hear_all(board, 1, 2)
    board.console.print(board.summary())

    row = next(line for line in text_of(board).splitlines() if "B1 edit" in line)

    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["B1 edit", "2", "6", "11.0", "12.0"]


def test_percentiles_lie_between_two_neighbours_in_proportion() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([1.0, 2.0], 50) == 1.5
    assert percentile(list(range(101)), 99) == 99.0
    assert percentile([5.0], 99) == 5.0
    with pytest.raises(ValueError):
        percentile([], 50)


def figure(progress: int, upload: str = "u") -> Json:
    data = {"uploadId": upload, "progress": progress, "bytes": progress * 1e5, "total": 1e7, "status": "uploading"}
    return {"type": "upload-progress", "courseId": "1", "data": data}


def test_without_a_terminal_an_upload_is_a_line_for_each_quarter() -> None:
    board = PlainBoard(console())
    for progress in (0, 10, 30, 40, 60, 99, 100, 100):
        for screen in ("tab 1", "tab 2"):
            board.watch(screen, figure(progress))

    shares = [" ".join(line.split()[1:3]) for line in text_of(board).splitlines()]

    assert shares == ["0 %", "30 %", "60 %", "99 %", "100 %"]


def test_on_a_terminal_an_upload_has_a_bar_on_every_screen_until_it_is_over() -> None:
    board = LiveBoard(console(terminal=True))
    for screen, progress in (("tab 2", 40), ("tab 1", 50)):
        board.watch(screen, figure(progress))
    assert [bar.split()[:2] for bar in board.bars()] == [["tab", "1"], ["tab", "2"]]
    assert "50 % 5.0 of 10.0 MB" in board.bars()[0]

    for screen in ("tab 1", "tab 2"):
        board.watch(screen, figure(100))
    assert board.bars() == []


def test_a_bulk_request_has_a_bar_too() -> None:
    board = PlainBoard(console())
    for done in (0, 200, 400):
        data = {"operationId": "o", "done": done, "total": 400, "failed": 3}
        board.watch("tab 1", {"type": "media-bulk-delete-progress", "operationId": "o", "data": data})

    shares = [" ".join(line.split()[1:]) for line in text_of(board).splitlines()]

    assert shares == [f"{done // 4} % {done} of 400 files, 3 failed" for done in (0, 200, 400)]
