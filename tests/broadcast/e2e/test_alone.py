"""The service needs nothing of the API, of Celery, or of a database."""

import http.client
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.broadcast_process import BROADCAST_SECRET, ROOT, TICKET_SECRET, Broadcast
from tests.support.broadcast_valkey import Valkey, free_port

pytestmark = pytest.mark.e2e

BLOCKED = ("apps", "coursehub", "celery", "kombu", "rest_framework", "psycopg", "psycopg2", "boto3", "sqlite3")

PROGRAM = f"""
import runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Refuse())
runpy.run_module("broadcast", run_name="__main__", alter_sys=True)
"""


def environ(**more: str) -> dict[str, str]:
    """Give an environment with nothing in it that was not asked for."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **more}


def test_it_starts_and_serves_with_everything_else_blocked(valkey: Valkey, tmp_path: Path):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=environ(
            REDIS_URL=valkey.url,
            BROADCAST_SECRET=BROADCAST_SECRET,
            TICKET_SECRET=TICKET_SECRET,
            WEBSOCKET_PORT=str(port),
        ),
    )
    try:
        deadline = time.monotonic() + 15
        status = 0
        while status != 200 and time.monotonic() < deadline:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/readyz")
                status = connection.getresponse().status
            except OSError:
                time.sleep(0.05)
            finally:
                connection.close()
        assert status == 200
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("missing", ["REDIS_URL", "BROADCAST_SECRET", "TICKET_SECRET"])
def test_what_is_missing_is_one_line_and_exit_2(missing: str):
    enough = {"REDIS_URL": "redis://127.0.0.1:1", "BROADCAST_SECRET": "b", "TICKET_SECRET": "t"}
    given = environ(**{name: value for name, value in enough.items() if name != missing})
    done = subprocess.run(
        [sys.executable, "-m", "broadcast"], cwd=ROOT, env=given, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"broadcast: {missing} is not set\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_listens_on_loopback_only(broadcast: Broadcast):
    listening = f"0100007F:{broadcast.port:04X}"
    sockets = Path(f"/proc/{broadcast.process.pid}/net/tcp").read_text()
    addresses = [line.split()[1] for line in sockets.splitlines()[1:] if line.split()[3] == "0A"]
    assert [a for a in addresses if a.endswith(f":{broadcast.port:04X}")] == [listening]
