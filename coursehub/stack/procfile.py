"""The Procfile: the one place that says how each part is started."""

import re
from collections.abc import Iterable
from pathlib import Path

from coursehub.stack import errors

PROJECT = Path(__file__).resolve().parents[2]
PROCFILE = PROJECT / "Procfile"
_LINE = re.compile(r"(?P<name>[A-Za-z0-9_-]+):\s*(?P<command>\S.*)")


def read(path: Path = PROCFILE) -> dict[str, str]:
    """
    Read the commands by name.

    Raises:
        ProcfileInvalid: there is no such file, or a line in it is not ``name: command``.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise errors.ProcfileInvalid(f"Cannot read {path}: {error.strerror}.") from error
    return dict(_parse(path, lines))


def _parse(path: Path, lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.rstrip())
        if not match:
            raise errors.ProcfileInvalid(f"{path}, line {number} is not 'name: command': {line}")
        yield match["name"], match["command"]


def argv(command: str) -> list[str]:
    """How to run a command: by a shell, for its variables, that steps aside, so that signals reach the program."""
    return ["/bin/sh", "-c", f"exec {command}"]
