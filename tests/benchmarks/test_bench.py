import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.e2e
def test_the_bench_measures_coursehub_and_the_floor_and_keeps_what_it_found(tmp_path: Path) -> None:
    arguments = ["--rounds", "1", "--quick", "--only", "one_user", "--results", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=100
    )

    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    (kept,) = tmp_path.glob("*.json")
    found = {(one["scenario"], one["subject"], one["figure"]): one["median"] for one in json.loads(kept.read_text())}
    assert found["one user", "CourseHub", "p50"] > found["one user", "floor", "p50"] > 0
    stages = {figure: value for (scenario, _, figure), value in found.items() if scenario == "where the time goes"}
    assert len(stages) == 8
    assert all(value > 0 for value in stages.values()), stages
    assert "### Aims" in (tmp_path / f"{kept.stem}.md").read_text()
