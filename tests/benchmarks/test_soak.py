import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_half_a_minute_of_saves_churn_and_dying_servers_loses_nothing(tmp_path: Path) -> None:
    arguments = ["--minutes", "0.5", "--clients", "30", "--results", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=230
    )

    (kept,) = tmp_path.glob("soak-*.md")
    text = kept.read_text()
    assert ended.returncode == 0, text + ended.stderr[-3000:]
    assert "**Passed.**" in text
    numbers = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", _line(text))]
    committed, clients, deliveries = numbers[:3]
    assert committed > 100
    assert deliveries > committed * clients / 30
    assert "killed" in text


def _line(text: str) -> str:
    (line,) = [line for line in text.splitlines() if "durable events committed" in line]
    return line
