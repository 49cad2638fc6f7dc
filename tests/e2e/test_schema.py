"""Schemathesis against the live schema: what the OpenAPI document says is what the API does."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stack import Site

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 5


@pytest.mark.timeout(600)
def test_the_api_does_what_its_schema_says(site: Site, tmp_path: Path) -> None:
    user = site.new_user("schemathesis")
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION), "--no-color"),
        *("run", f"{user.url}/api/schema/", "--exclude-path-regex", "^/admin"),
        *("--header", f"Authorization: Bearer {user.token}", "--max-examples", f"{EXAMPLES}", "--workers", "1"),
        *("--continue-on-failure", "--no-shrink", "--seed", "1", "--warnings", "off"),
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | hooks, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    selected = re.search(r"Selected: (\d+)/\d+\n +Tested: \1\n", done.stdout)
    assert selected and int(selected[1]) >= 30, done.stdout[-2_000:]
