"""What is measured with and against: our C programs, compiled here, and peers, fetched where that can be done."""

import contextlib
import hashlib
import os
import resource
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

NATIVE = Path(__file__).parent / "native"
KEPT = Path(__file__).parents[1] / "results" / "tools"
"""Where everything is kept between runs."""
DEBIAN = ("nginx", "libnginx-mod-nchan")
NODE = ("ws@8.18.3",)
_NPM_OPTIONS = ("--loglevel=error", "--no-fund", "--no-audit", "--fetch-retries=0", "--fetch-timeout=20000")
"""Npm would try a registry that it cannot reach for minutes; without that peer the others are measured."""
_PATIENCE_SECONDS = 180


class ToolMissing(Exception):
    """Something cannot be had on this machine; the message says what and why."""


@cache
def native(name: str) -> Path:
    """
    Compile one of our programs, unless that was done.

    Raises:
        ToolMissing: there is no C compiler, or it fails.
    """
    source = NATIVE / f"{name}.c"
    program = KEPT / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if not program.exists():
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise ToolMissing("there is no C compiler (cc)")
        KEPT.mkdir(parents=True, exist_ok=True)
        building = program.with_suffix(".building")
        _run([compiler, "-O2", "-o", str(building), str(source)])
        building.rename(program)
    return program


@cache
def nchan() -> tuple[Path, Path]:
    """
    Find nginx and nchan's module; where they are missing and we are root on Debian, install its packages.

    Raises:
        ToolMissing: they are not there, and cannot be installed.
    """
    found = Path("/usr/sbin/nginx"), Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
    if all(path.exists() for path in found):
        return found
    if os.geteuid() or not shutil.which("apt-get"):
        raise ToolMissing(f"not installed (apt-get install {' '.join(DEBIAN)})")
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *DEBIAN]
    try:
        _run(install)
    except ToolMissing:
        _run(["apt-get", "update", "-qq"])  # a fresh image has no package lists
        _run(install)
    return found


@cache
def node() -> tuple[str, Path]:
    """
    Find Node and a folder whose ``node_modules`` has `ws`.

    Raises:
        ToolMissing: Node or npm is not installed, or `ws` cannot be fetched.
    """
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None:
        raise ToolMissing("Node is not installed")
    folder = KEPT / "node"
    if not (folder / "node_modules" / "ws" / "package.json").exists():
        if npm is None:
            raise ToolMissing("npm is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        _run([npm, "install", *_NPM_OPTIONS, "--prefix", str(folder), *NODE])
    return program, folder


def fetch() -> None:
    """Fetch the peers ahead of a run, as far as they can be had."""
    for peer in (nchan, node):
        try:
            peer()
        except ToolMissing as missing:
            sys.stderr.write(f"{peer.__name__}: {missing}\n")


def open_files() -> int:
    """Raise the limit of open files as far as it goes, for this process and all it starts; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (65_536, hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
            return wanted
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _run(command: list[str]) -> None:
    # Runlevel 1 keeps Debian's packages from starting servers of their own.
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    try:
        subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=_PATIENCE_SECONDS)
    except subprocess.CalledProcessError as error:
        said = " ".join((error.stderr or error.stdout).split())
        raise ToolMissing(f"{command[0]}: {said[-1_000:]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolMissing(f"{command[0]}: {error}") from error


if __name__ == "__main__":
    fetch()
