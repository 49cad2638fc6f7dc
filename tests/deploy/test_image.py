"""The Dockerfile held against the repository and the Procfile."""

import fnmatch
import json
import re
import shlex
import subprocess
import tomllib

from coursehub.stack import procfile

PROJECT = procfile.PROJECT
LINES = re.sub(r"\\\n\s*", "", (PROJECT / "Dockerfile").read_text()).splitlines()
IGNORED = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


def instructions(name: str) -> list[str]:
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{name} ")]


def copied() -> set[str]:
    return {source.removeprefix("./") for line in instructions("COPY") for source in line.split()[:-1]}


def test_everything_that_is_copied_is_in_the_repository() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for source in copied():
        assert any(path == source or path.startswith(f"{source}/") for path in tracked.splitlines()), source


def test_everything_that_is_copied_passes_the_dockerignore_and_nothing_else_does() -> None:
    assert IGNORED[0] == "*"
    passing = {line.removeprefix("!") for line in IGNORED if line.startswith("!")}
    assert passing == copied()


def test_every_package_that_a_part_imports_is_copied() -> None:
    packages = {path.parent.name for path in PROJECT.glob("*/__init__.py")}
    assert packages - {"tests", "demo", "benchmarks"} <= copied()


def test_no_secret_and_no_data_can_get_into_the_image() -> None:
    for name in (".env", ".data", ".git", ".venv"):
        assert any(fnmatch.fnmatch(name, pattern) for pattern in IGNORED)
        assert f"!{name}" not in IGNORED


def test_the_python_is_the_one_the_project_asks_for() -> None:
    wanted = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert instructions("FROM") == [f"python:{wanted.removeprefix('>=')}-slim"]


def test_it_installs_what_is_pinned() -> None:
    assert "pip install -r requirements.txt -c constraints.txt" in instructions("RUN")


def test_it_does_not_run_as_root() -> None:
    user = instructions("USER")[-1]
    assert any("useradd" in line and line.endswith(f" {user}") for line in instructions("RUN"))
    assert LINES.index(f"USER {user}") < next(n for n, line in enumerate(LINES) if line.startswith("CMD "))


def test_by_itself_it_is_the_api_on_the_documented_ports() -> None:
    assert json.loads(instructions("CMD")[0]) == shlex.split(procfile.read()["api"])
    env = dict(pair.split("=") for line in instructions("ENV") for pair in line.split())
    assert instructions("EXPOSE") == [f"{env['PORT']} {env['WEBSOCKET_PORT']}"]
