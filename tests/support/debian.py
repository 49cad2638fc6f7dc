"""
Debian's own servers, started as ordinary processes on loopback: what production may well run CourseHub on.

CI installs the packages; elsewhere, where they are absent, what needs them is skipped.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from coursehub.stack.ports import free_port
from coursehub.stack.privileges import popen_arguments, unprivileged_account

POSTGRESQL = Path("/usr/lib/postgresql/15/bin")
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_START_SECONDS = 60


def is_installed() -> bool:
    """Say whether all three servers are there."""
    return (POSTGRESQL / "postgres").exists() and RABBITMQ.exists() and shutil.which("redis-server") is not None


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """Run PostgreSQL 15, Redis 7 and RabbitMQ; gives the variables that lead CourseHub to them."""
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="coursehub-debian-", dir="/tmp")))
        folder.chmod(0o755)
        yield {
            "DATABASE_URL": running.enter_context(_postgresql(folder / "pg")),
            "REDIS_URL": running.enter_context(_redis(folder)),
            "CELERY_BROKER_URL": running.enter_context(_rabbitmq(folder / "rabbitmq")),
        }


@contextmanager
def _postgresql(data: Path) -> Iterator[str]:
    account, port = unprivileged_account(), free_port()
    data.mkdir()
    if account:
        os.chown(data, account.uid, account.gid)
    how = popen_arguments(account)
    make = [POSTGRESQL / "initdb", "-D", data, "-U", "coursehub", "-A", "trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(make, check=True, capture_output=True, cwd=data, **how)
    flags = ["-D", data, "-p", port, "-h", "127.0.0.1", "-k", "", "-F"]
    with _process([POSTGRESQL / "postgres", *flags], port, cwd=data, **how):
        url = f"postgresql://coursehub@127.0.0.1:{port}"
        create = ["-h", "127.0.0.1", "-p", str(port), "-U", "coursehub", "coursehub"]
        _until(lambda: subprocess.run([POSTGRESQL / "createdb", *create], capture_output=True).returncode == 0)
        yield f"{url}/coursehub"


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    port = free_port()
    flags = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    with _process(["redis-server", *flags], port, cwd=folder):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def _rabbitmq(folder: Path) -> Iterator[str]:
    folder.mkdir()
    port, mapper = free_port(), free_port()
    (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
    env = {
        **os.environ,
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"coursehub{port}@localhost",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_MNESIA_BASE": str(folder),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    with (
        _process(["epmd", "-port", mapper, "-address", "127.0.0.1"], mapper, cwd=folder, env=env),
        _process([RABBITMQ], port, cwd=folder, env=env),
    ):
        yield f"amqp://guest:guest@127.0.0.1:{port}//"


@contextmanager
def _process(command: list[Any], port: int, **how: Any) -> Iterator[None]:
    output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    process = subprocess.Popen([str(part) for part in command], **{**output, **how})
    try:
        _until(lambda: _listens(port))
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(condition: Any) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.05)
