"""Who PostgreSQL runs as: it refuses to be root, so root runs it as ``nobody``."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coursehub.stack import errors

UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class Account:
    """Another user than the one who started this; only root can become one."""

    name: str
    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """
    The account for what must not run as root; None: we are an ordinary user already.

    Raises:
        AccountMissing: there is no such account, or this root may not become it (some containers).
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
        account = Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
        subprocess.run(["/bin/sh", "-c", ":"], check=True, cwd="/", **popen_arguments(account))
    except (KeyError, OSError, ValueError, subprocess.SubprocessError) as error:
        raise errors.AccountMissing(UNPRIVILEGED, str(error)) from error
    return account


def popen_arguments(account: Account | None) -> dict[str, Any]:
    """What makes ``subprocess`` start a program as this account, without root's groups."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def can_enter(path: Path, account: Account | None) -> bool:
    """Whether this account reaches a directory: asked of the kernel, which knows of more than mode bits."""
    if account is None:
        return True
    test = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]
    return subprocess.run(test, cwd="/", check=False, **popen_arguments(account)).returncode == 0


def give(path: Path, account: Account | None) -> None:
    """Make a directory this account's own."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def has_room(path: Path, needed_bytes: int) -> bool:
    """Whether we can write that much there now."""
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize >= needed_bytes and os.access(path, os.W_OK)
