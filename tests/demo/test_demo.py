import subprocess
import sys
from pathlib import Path

import pytest

from coursehub.stack import ports

PROJECT = Path(__file__).resolve().parents[2]


def run_demo(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "demo", *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=100
    )


@pytest.mark.e2e
def test_the_demo_plays_every_use_case_on_a_coursehub_of_its_own_and_finds_nothing_wrong() -> None:
    ended = run_demo()

    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-5000:]
    for use_case in (*(f"B{number}" for number in (*range(1, 10), 11)), "C1", "E1", "E2", "E4", "E5", "E7"):
        assert f"\n{use_case} " in ended.stdout
    assert "None missing, doubled, out of order, or seen by others." in ended.stdout


def test_the_demo_says_so_when_there_is_nothing_to_play_on() -> None:
    ended = run_demo("--url", f"http://127.0.0.1:{ports.free_port()}")

    assert ended.returncode == 2
    assert "nothing to play on" in ended.stdout
