"""The proxy of `deploy/nginx.conf` as a process, before broadcast processes on this machine."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from coursehub.stack.ports import free_port

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"
_START_SECONDS = 20
_PLACES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

needs_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None and not os.environ.get("CI"), reason="there is no nginx (apt-get install nginx)"
)


@contextmanager
def nginx(broadcast_ports: Sequence[int]) -> Iterator[int]:
    """Run it before these broadcast processes; gives its port."""
    with tempfile.TemporaryDirectory(prefix="coursehub-nginx-", dir="/tmp") as folder:
        port = free_port()
        path = Path(folder, "nginx.conf")
        path.write_text(_configuration(folder, port, broadcast_ports))
        Path(folder).chmod(0o755)
        flags = ["-e", f"{folder}/error.log", "-g", f"daemon off; pid {folder}/pid;"]
        process = subprocess.Popen(["nginx", "-c", path, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with contextlib.ExitStack() as probes:
        while probes.enter_context(socket.socket()).connect_ex(("127.0.0.1", port)):
            assert process.poll() is None, "nginx does not start"
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.05)


def _configuration(folder: str, port: int, broadcast_ports: Sequence[int]) -> str:
    """Change what has to be different here: where it listens, where the processes are, and where it keeps files."""
    servers = " ".join(f"server 127.0.0.1:{each} max_fails=0;" for each in broadcast_ports)
    places = "\n".join(f"    {place}_temp_path {folder}/{place};" for place in _PLACES)
    text = CONFIGURATION.read_text()
    for old, new in (
        ("http {\n", f"http {{\n{places}\n    upstream broadcasts {{ {servers} }}\n"),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("set $broadcast broadcast:8080;", "set $broadcast broadcasts;"),
    ):
        assert old in text
        text = text.replace(old, new)
    return text
