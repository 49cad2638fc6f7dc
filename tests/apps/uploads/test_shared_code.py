"""How much of uploads is shared by videos and the library."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "scripts/shared_code.py"


def run(least: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--least", str(least)], capture_output=True, text=True, check=False
    )


def test_more_than_85_percent_are_shared() -> None:
    assert run(85).returncode == 0


def test_less_than_was_asked_for_is_a_failure() -> None:
    assert run(100).returncode == 1
    assert "apps/media/upload_target.py" in run(100).stdout
