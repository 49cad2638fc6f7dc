"""
Upload clients that nobody here wrote, in JavaScript: where they are, how they get there, and how they are run.

``python -m tests.support.upload_clients`` (``make peers``) installs the packages of ``tests/e2e/uploads/clients``; they
want Node. Chromium is Debian's. Without them their tests are skipped; in CI they fail.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import peers

CLIENTS = peers.ROOT / "tests/e2e/uploads/clients"
_SECONDS = 240


def why_no_node() -> str | None:
    """Say what keeps clients of Node from running."""
    if shutil.which("node") is None:
        return "there is no Node"
    return None if (CLIENTS / "node_modules/tus-js-client").is_dir() else "the packages are not there: make peers"


def why_no_browser() -> str | None:
    """Say what keeps the browser from running."""
    return why_no_node() or (None if peers.chromium() else "there is no Chromium")


def run(script: str, told: dict[str, Any], *arguments: str) -> Any:
    """Run a script to its end, and give what it says."""
    command = ["node", str(CLIENTS / script), json.dumps(told), *arguments]
    environ = {**os.environ, "CHROMIUM": str(peers.chromium())}
    done = subprocess.run(
        command, cwd=peers.ROOT, env=environ, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return {**json.loads(done.stdout), "said": done.stderr[-4_000:]}


def save(content: bytes, folder: Path) -> str:
    """Put content where a client finds it."""
    path = folder / "film.mp4"
    path.write_bytes(content)
    return str(path)


def main() -> int:
    """Install the packages, if there is npm; say what is missing then."""
    if (npm := shutil.which("npm")) is not None:
        subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=CLIENTS, check=True)
    for missing in {why_no_node(), why_no_browser()} - {None}:
        sys.stderr.write(f"peers: {missing}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
