"""
A second S3, by other people than the embedded one: MiniStack, in a process of its own and with packages of its own.

`make peers` installs it. It keeps objects in memory and lets any secret in, so it is no server to run CourseHub on; but
it knows versions, CORS and lifecycles, which Swift does not.
"""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3

from coursehub.stack.ports import free_port
from tests.support.peers import MINISTACK

BUCKET = "coursehub"
_START_SECONDS = 60
_RUN = f"import sys; sys.path.insert(0, {str(MINISTACK)!r}); from ministack.app import main; sys.exit(main())"


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """Run it with an empty bucket; gives the variables that lead CourseHub to it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with TemporaryDirectory(prefix="coursehub-ministack-") as folder:
        env = {"PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder, "STATE_DIR": folder}
        env |= {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "s3", "LOG_LEVEL": "WARNING"}
        log = Path(folder) / "log"
        with log.open("wb") as output:
            # -S: without the packages of our own environment.
            command = [sys.executable, "-S", "-c", _RUN]
            process = subprocess.Popen(command, env=env, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait(url, process, log)
            made = _variables(url)
            _client(made).create_bucket(Bucket=BUCKET)
            yield made
        finally:
            process.terminate()
            process.wait(10)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(url):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()  # noqa: S310
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _variables(url: str) -> dict[str, str]:
    return {
        "S3_ENDPOINT_URL": url,
        "S3_PUBLIC_ENDPOINT_URL": url,
        "S3_BUCKET": BUCKET,
        "S3_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


def _client(variables: dict[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=variables["S3_ENDPOINT_URL"],
        region_name=variables["S3_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
