"""
Compiles the send loop where it is used: a shared library in a directory that only this user can write.

``python -m broadcast.sending.build [directory]`` does it ahead, for images that have no compiler later.
"""

import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("send_loop.c")

_COMPILERS: Final = ("cc", "gcc", "clang")
_FLAGS: Final = ("-O2", "-shared", "-fPIC")
_PATIENCE_SECONDS: Final = 60


class CannotBuild(Exception):
    """There is no compiler, it failed, or there is no safe place for what it makes; the message says which."""


def library(directory: Path) -> Path:
    """
    Find the compiled loop in ``directory``, or compile it into there.

    The file's name says what it was made of, so a new version never loads an old library. The directory is made if
    need be, and neither it nor the file is trusted if anyone else may write them.

    Raises:
        CannotBuild: it is not there and cannot be made.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _must_be_private(directory)
        path = directory / f"send-loop-{_fingerprint()}.so"
        if not path.exists():
            _compile(path)
        _must_be_private(path)
    except OSError as problem:
        raise CannotBuild(str(problem)) from problem
    return path


def _fingerprint() -> str:
    made_of = (SOURCE.read_text(), *_FLAGS, platform.system(), platform.machine(), platform.architecture()[0])
    return hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]


def _must_be_private(path: Path) -> None:
    status = path.lstat()
    is_ours = status.st_uid in {os.geteuid(), 0}
    if stat.S_ISLNK(status.st_mode) or not is_ours or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CannotBuild(f"others can write {path}")


def _compile(path: Path) -> None:
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        raise CannotBuild("there is no C compiler")
    # Into place only when it is whole: several processes may start at once.
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        made = Path(directory) / path.name
        command = [compiler, *_FLAGS, "-o", str(made), str(SOURCE)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as problem:
            raise CannotBuild(f"{compiler} took too long") from problem
        if done.returncode:
            raise CannotBuild(f"{compiler}: {done.stderr.strip()}")
        made.chmod(0o700)
        made.replace(path)


if __name__ == "__main__":
    sys.stdout.write(f"{library(Path(sys.argv[1]))}\n")
