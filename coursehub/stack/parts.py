"""The parts of the Procfile: what each is given to run with, and when it is ready."""

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from coursehub import hosts
from coursehub.stack import logs, processes, procfile
from coursehub.stack.watchdog import Watchdog

DEFAULT = ("api", "worker", "relay", "broadcast")
PORTS = {"api": "PORT", "broadcast": "WEBSOCKET_PORT"}
"""The parts that listen, each with its variable."""
READY_LINE = "ready."
"""What parts without a port say when they have begun."""
OBJECTS = (
    *("S3_ENDPOINT_URL", "S3_PUBLIC_ENDPOINT_URL", "S3_BUCKET", "S3_REGION"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
)
"""They only make sense together: without the first, ours is meant."""
OURS = (
    *("HOST", "PORT", "WEBSOCKET_PORT", "COURSEHUB_DATA", "COURSEHUB_EMBEDDED", "DATABASE_URL", "REDIS_URL"),
    *("CELERY_BROKER_URL", "CHANNEL_LAYER_URLS", "BROADCAST_URL", "WEBSOCKET_PUBLIC_URL"),
    *("SECRET_KEY", "BROADCAST_SECRET", "TICKET_SECRET"),
    *OBJECTS,
)
"""Variables that say where everything is: an embedded run decides them, unless it is given them."""
_WARNINGS = "ignore:You're running the worker with superuser privileges"
"""Celery's; whoever starts this on their own machine as root knows."""
QUIET_SECONDS = 10.0
"""Such a part counts as ready after this long, whatever it says: LOG_LEVEL may keep it silent."""


class Part:
    """
    One process of the Procfile, and the same again after a restart.

    ``name`` is the Procfile's; a further instance is told apart by a colon and a number: ``broadcast:2``.
    """

    def __init__(
        self,
        name: str,
        command: str,
        *,
        env: Mapping[str, str],
        log: Path,
        watchdog: Watchdog,
        listener: Callable[[str, str], None],
        port: int | None = None,
    ) -> None:
        self.name, self.port, self.log = name, port, log
        self._command, self._env, self._watchdog, self._listener = command, env, watchdog, listener
        self._said_ready = threading.Event()
        self._started_at = 0.0
        self.child: processes.Child | None = None

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        self._said_ready.clear()
        self._started_at = time.monotonic()
        self.child = processes.Child(
            self.name,
            procfile.argv(self._command),
            log=self.log,
            watchdog=self._watchdog,
            env=self._env,
            cwd=procfile.PROJECT,
            output=subprocess.PIPE,
        )
        assert self.child.process.stdout
        logs.follow(self.child.process.stdout, self.log, self._heard)

    def stop(self, grace_seconds: float = 15.0) -> None:
        """Ask the process to end, and see that it does, with all that it started."""
        if self.child:
            self.child.stop(grace_seconds)

    def is_ready(self) -> bool:
        """Whether it takes work."""
        if self.port is not None:
            return answers(in_url(self._env["HOST"]), self.port, "/readyz")
        return self._said_ready.is_set() or time.monotonic() - self._started_at > QUIET_SECONDS

    def _heard(self, line: str) -> None:
        if READY_LINE in line:
            self._said_ready.set()
        self._listener(self.name, line)


def kind(name: str) -> str:
    """The Procfile's name of an instance."""
    return name.partition(":")[0]


def in_url(host: str) -> str:
    """A host as it stands in a URL that this machine can open."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return hosts.in_url(host)


def answers(host: str, port: int, path: str) -> bool:
    """Whether a GET is answered with 200."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def environment(services: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """
    The environment of every part: what the services say, where the parts find each other, and over it ``given``.

    ``given`` has at least HOST, PORT and WEBSOCKET_PORT. What else this process was told about servers is left out.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    bridge = f"{in_url(given['HOST'])}:{given['WEBSOCKET_PORT']}"
    urls = {"BROADCAST_URL": f"http://{bridge}", "WEBSOCKET_PUBLIC_URL": f"ws://{bridge}/ws/"}
    ours = {"COURSEHUB_EMBEDDED": "1", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": _WARNINGS, "PATH": _path()}
    return inherited | ours | urls | dict(services) | dict(given)


def _path() -> str:
    """``python`` and ``gunicorn`` in the Procfile are those of this interpreter's environment."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
