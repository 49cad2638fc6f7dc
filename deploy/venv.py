"""
Makes the virtual environment and keeps what is installed in it equal to the pinned requirements.

    python3 deploy/venv.py .venv requirements.txt

Needs nothing but Python 3.11. Does nothing when nothing changed.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
UV = "uv==0.13.8"
"""Installs the same in a sixth of the time; where it does not work, pip does."""

_UV_OPTIONS = {"index-url": "--index-url", "extra-index-url": "--extra-index-url", "find-links": "--find-links"}
_UNKNOWN_TO_UV = {"client-cert", "proxy", "trusted-host", "no-index", "only-binary", "no-binary", "constraint"}


class SetupFailed(Exception):
    """The environment could not be made; the message says what to do."""


class Environment:
    """A virtual environment."""

    def __init__(self, folder: Path, maker: str = sys.executable) -> None:
        self.folder, self._maker = folder, maker
        self.python = folder / "bin" / "python"
        self._location = folder / ".location"

    def ensure(self) -> None:
        """
        Make it, or make it anew when its interpreter is gone or the folder was moved.

        Raises:
            SetupFailed: this Python cannot make one with pip in it.
        """
        if self.works():
            return
        _say(f"Making {self.folder} with {self._maker} …")
        shutil.rmtree(self.folder, ignore_errors=True)
        if _succeeds([self._maker, "-c", "import ensurepip"]):
            _run([self._maker, "-m", "venv", str(self.folder)], "The virtual environment could not be made")
        else:
            self._make_without_ensurepip()
        self._location.write_text(str(self.folder.resolve()))

    def install(self, requirements: Path) -> None:
        """
        Install what the file lists, with everything that this needs in turn as pinned in constraints.txt.

        Raises:
            SetupFailed: something cannot be installed.
        """
        wanted = self._fingerprint(requirements)
        stamp = self.folder / f".{requirements.stem}.installed"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        _say(f"Installing {requirements.name} …")
        options = ["-r", str(requirements), "-c", str(PROJECT / "constraints.txt")]
        if not self._install_with_uv(options):
            _run([*self._pip(), "install", "-qq", *options], f"{requirements.name} could not be installed")
        stamp.write_text(wanted)

    def works(self) -> bool:
        """Whether its interpreter is there and new enough, has pip, and lies where it was made."""
        # The programs in it begin with its full path: they do not survive a move.
        stayed = not self._location.exists() or self._location.read_text() == str(self.folder.resolve())
        return stayed and _succeeds([str(self.python), "-c", "import pip, sys; sys.exit(sys.version_info < (3, 11))"])

    def _make_without_ensurepip(self) -> None:
        """Debian ships venv without pip; virtualenv brings its own, and a pip outside can fill the environment."""
        if _succeeds([self._maker, "-m", "virtualenv", "-q", str(self.folder)]):
            return
        if _succeeds([self._maker, "-m", "pip", "--version"]):
            _run([self._maker, "-m", "venv", "--without-pip", str(self.folder)], "venv failed")
            command = [self._maker, "-m", "pip", "--python", str(self.python), "install", "-q", "pip"]
            _run(command, "pip could not be put into the virtual environment")
            return
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise SetupFailed(
            f"{self._maker} cannot make a virtual environment: it comes without ensurepip, as on a bare Debian "
            f"or Ubuntu. Install it (apt install python{version}-venv) and start again, or name another Python: "
            "make run PYTHON=/path/to/python3"
        )

    def _pip(self) -> list[str]:
        return [str(self.python), "-m", "pip", "--disable-pip-version-check"]

    def _install_with_uv(self, options: list[str]) -> bool:
        """Try the fast way, with pip's own indexes; False: pip has to do it."""
        translated = uv_options(self._pip_configuration())
        if translated is None or not _succeeds([*self._pip(), "install", "-q", UV]):
            return False
        command = [str(self.python), "-m", "uv", "pip", "install", "-q", "--python", str(self.python)]
        return _succeeds([*command, *translated[0], *options], translated[1])

    def _pip_configuration(self) -> list[str]:
        command = [*self._pip(), "config", "list"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()

    def _fingerprint(self, requirements: Path) -> str:
        files = [PROJECT / "requirements.txt", requirements, PROJECT / "constraints.txt"]
        contents = b"\0".join(file.read_bytes() for file in files)
        return hashlib.sha256(contents + str(self.python.resolve()).encode()).hexdigest()


def uv_options(configuration: list[str]) -> tuple[list[str], dict[str, str]] | None:
    """
    Say in uv's options and variables what ``pip config list`` says, because uv does not read pip's configuration.

    None: it says something that only pip understands.
    """
    options: list[str] = []
    env: dict[str, str] = {}
    for line in configuration:
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in _UNKNOWN_TO_UV:
            return None
        if key == "cert":
            env["SSL_CERT_FILE"] = str(literal_eval(value))
        if key in _UV_OPTIONS:
            options += [word for url in str(literal_eval(value)).split() for word in (_UV_OPTIONS[key], url)]
    # pip takes the best version of all indexes; uv by default only looks into the first that has the package.
    return ([*options, "--index-strategy", "unsafe-best-match"] if options else []), env


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _succeeds(command: list[str], env: dict[str, str] | None = None) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, **(env or {})})
        return done.returncode == 0
    except OSError:
        return False


def _run(command: list[str], complaint: str) -> None:
    if subprocess.run(command, check=False).returncode:
        raise SetupFailed(f"{complaint}; the lines above say why.")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let no two commands change the environment at once."""
    with (PROJECT / "constraints.txt").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Make the environment named first hold what the file named second lists."""
    environment = Environment(Path(sys.argv[1]))
    try:
        with _alone():
            environment.ensure()
            environment.install(PROJECT / sys.argv[2])
    except SetupFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    os.chdir(PROJECT)
    sys.exit(main())
