"""PostgreSQL, Valkey and Swift together, with the directory for their sockets and the watchdog that survives us."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from coursehub.stack import leftovers, postgres, processes, swift, valkey
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.watchdog import Watchdog

VARIABLES = frozenset({"DATABASE_URL", "REDIS_URL", "S3_ENDPOINT_URL"})
"""Each stands for a service; who is given one does not need ours."""
SECRETS = ("SECRET_KEY", "BROADCAST_SECRET", "TICKET_SECRET")


class Services:
    """
    The services that nobody else provides, as a context manager.

    ``external`` names those of `VARIABLES` whose server is somebody else's.
    """

    def __init__(
        self,
        data: DataDirectory,
        *,
        fast: bool = False,
        external: frozenset[str] = frozenset(),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.data, self._fast, self._external, self._say = data, fast, external, say
        self.running: dict[str, postgres.Postgres | valkey.Valkey | swift.Swift] = {}

    def __enter__(self) -> "Services":
        self.data.lock()
        self.watchdog = Watchdog()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def env(self) -> dict[str, str]:
        """What the parts need to know to use these services, and the secrets that belong to their data."""
        known = {name: value for service in self.running.values() for name, value in service.env.items()}
        known |= {name: self.data.secret(name) for name in SECRETS}
        return known | {"COURSEHUB_DATA": str(self.data.path)}

    def stop(self) -> None:
        """Stop the services and let the next run in. Safe to call again."""
        for service in self.running.values():
            service.stop()
        self.watchdog.close()
        leftovers.end(leftovers.marked(self.data.path))
        self.data.unlock()

    def _start(self) -> None:
        leftovers.end(leftovers.marked(self.data.path))
        if self.data.is_temporary:
            self.watchdog.remove(self.data.path)
        if "DATABASE_URL" not in self._external:
            self.running["postgres"] = self._postgres()
        if "REDIS_URL" not in self._external:
            self.running["valkey"] = self._valkey()
        if "S3_ENDPOINT_URL" not in self._external:
            self._add_swift()
        for service in self.running.values():
            service.start()

    def _postgres(self) -> postgres.Postgres:
        sockets = _short_directory()
        self.watchdog.remove(sockets)
        server = postgres.Postgres(
            self.data, sockets=sockets, watchdog=self.watchdog, env=self._child_env(), fast=self._fast, say=self._say
        )
        if self.data.is_temporary and server.kept_elsewhere:
            self.watchdog.remove(server.kept_elsewhere)
        return server

    def _valkey(self) -> valkey.Valkey:
        return valkey.Valkey(self.data, watchdog=self.watchdog, env=self._child_env(), fast=self._fast)

    def _add_swift(self) -> None:
        if not swift.is_available():
            self._say("Nothing can be uploaded: Swift, the embedded object store, runs on Linux. Set S3_ENDPOINT_URL.")
            return
        server = swift.Swift(self.data, watchdog=self.watchdog, env=self._child_env(), fast=self._fast, say=self._say)
        if self.data.is_temporary and server.kept_elsewhere:
            self.watchdog.remove(server.kept_elsewhere)
        self.running["swift"] = server

    def _child_env(self) -> dict[str, str]:
        """Ours without what would talk the servers into other settings, and with the mark for a later run."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return kept | {processes.MARK: str(self.data.path)}


def _short_directory() -> Path:
    """A private directory whose name leaves room for a socket's: a Unix socket's path may have 107 bytes."""
    preferred = os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - mkdtemp makes it ours alone
    base = preferred if len(preferred) <= 60 and os.access(preferred, os.W_OK) else "/tmp"  # noqa: S108
    path = Path(tempfile.mkdtemp(prefix="coursehub-", dir=base))
    path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return path
