"""What of a part's log reaches the terminal, and what the file keeps."""

import io
from pathlib import Path

import pytest

from coursehub.stack import logs

RECORD = '{"level": "%s", "logger": "apps.outbox", "message": "The bridge is away."}'


@pytest.mark.parametrize(
    "line",
    [
        RECORD % "WARNING",
        RECORD % "ERROR",
        "[2026-01-01 00:00:00] [7] [ERROR] Exception in worker process",
        "Traceback (most recent call last):",
        "ValueError: no",
        "2026-01-01 UTC [1] FATAL:  the database system is shutting down",
    ],
)
def test_warnings_and_worse_are_grave(line: str) -> None:
    assert logs.is_grave(line)


@pytest.mark.parametrize("line", [RECORD % "INFO", "[2026-01-01] [7] [INFO] Booting worker", "{not json ERRORS", ""])
def test_the_rest_is_not(line: str) -> None:
    assert not logs.is_grave(line)


def test_a_record_is_shown_as_a_sentence() -> None:
    assert logs.readable(RECORD % "WARNING") == "WARNING apps.outbox: The bridge is away."


def test_a_record_with_a_traceback_shows_it_below() -> None:
    shown = logs.readable('{"level": "ERROR", "logger": "a", "message": "b", "exc_info": "Traceback\\nValueError"}')
    assert shown.splitlines() == ["ERROR a: b", "Traceback", "ValueError"]


def test_any_other_line_is_shown_as_it_is() -> None:
    assert logs.readable("{almost json") == "{almost json"


def test_everything_reaches_the_file_and_the_listener(tmp_path: Path) -> None:
    heard: list[str] = []
    logs.follow(io.BytesIO(b"one\ntwo \xff\nno newline"), tmp_path / "a.log", heard.append).join()
    assert (tmp_path / "a.log").read_bytes() == b"one\ntwo \xff\nno newline"
    assert heard == ["one", "two \N{REPLACEMENT CHARACTER}", "no newline"]


def test_a_full_file_makes_room_and_keeps_the_one_before(tmp_path: Path) -> None:
    log = logs.LogFile(tmp_path / "a.log", kept_bytes=10)
    for number in range(5):
        log.write(b"line %d\n" % number)
    log.close()
    assert (tmp_path / "a.log.1").read_bytes() == b"line 2\nline 3\n"
    assert (tmp_path / "a.log").read_bytes() == b"line 4\n"
