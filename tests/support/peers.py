"""
Peers of ours that nobody here wrote: where they are, and how they get there.

``python -m tests.support.peers`` (``make peers``) installs what is missing: Autobahn|Testsuite, which wants Python 2.7,
the packages of ``tests/broadcast/clients``, which want Node, and MiniStack, an S3. Chromium is Debian's. Without a peer
its tests are skipped; in CI they fail.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "tests/broadcast/clients"
WSTEST = ROOT / ".peers/wstest"
MINISTACK = ROOT / ".peers/ministack"
_MINISTACK_REQUIREMENTS = ROOT / "tests/apps/uploads/ministack.txt"
_WSTEST_REQUIREMENTS = ROOT / "tests/broadcast/conformance/requirements.txt"
_RUN_WSTEST = f"import site; site.addsitedir({str(WSTEST)!r}); from autobahntestsuite.wstest import run; run()"


@cache
def python27() -> str | None:
    """Find a Python 2.7 that runs; ``PYTHON27`` names one that is somewhere else."""
    kept_by_pyenv = Path.home().glob(".pyenv/versions/2.7*/bin/python2.7")
    for candidate in filter(None, [os.environ.get("PYTHON27"), shutil.which("python2.7"), *map(str, kept_by_pyenv)]):
        # A shim of pyenv is there for every version, and runs for the chosen ones only.
        if subprocess.run([candidate, "-c", "import pip"], capture_output=True).returncode == 0:
            return candidate
    return None


def wstest(*arguments: str) -> list[str]:
    """Make the command line of ``wstest``."""
    return [str(python27()), "-W", "ignore", "-c", _RUN_WSTEST, *arguments]


def why_no_wstest() -> str | None:
    """Say what keeps Autobahn|Testsuite from running."""
    if python27() is None:
        return "there is no Python 2.7"
    return None if (WSTEST / "autobahntestsuite").is_dir() else "Autobahn|Testsuite is not there: make peers"


def why_no_node() -> str | None:
    """Say what keeps clients of Node from running."""
    if shutil.which("node") is None:
        return "there is no Node"
    return None if (CLIENTS / "node_modules/ws").is_dir() else "the packages are not there: make peers"


def why_no_browser() -> str | None:
    """Say what keeps the browser from running."""
    return why_no_node() or (None if chromium() else "there is no Chromium")


def chromium() -> str | None:
    """Find Chromium."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def why_no_ministack() -> str | None:
    """Say what keeps the second S3 from running."""
    return None if (MINISTACK / "ministack").is_dir() else "MiniStack is not there: make peers"


def main() -> int:
    """Install what is missing and can be had; say what cannot."""
    if (python := python27()) is not None and not (WSTEST / "autobahntestsuite").is_dir():
        pip = [python, "-W", "ignore", "-m", "pip", "--disable-pip-version-check", "install", "-qqq", "--no-deps"]
        subprocess.run([*pip, "--target", WSTEST, "--requirement", _WSTEST_REQUIREMENTS], check=True)
    if (npm := shutil.which("npm")) is not None:
        subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=CLIENTS, check=True)
    if why_no_ministack():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-qqq", "--no-deps"]
        subprocess.run([*pip, "--target", MINISTACK, "--requirement", _MINISTACK_REQUIREMENTS], check=True)
    for missing in {why_no_wstest(), why_no_node(), why_no_browser(), why_no_ministack()} - {None}:
        sys.stderr.write(f"peers: {missing}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
