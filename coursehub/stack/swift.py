"""An S3 of our own: OpenStack Swift from its wheel, on loopback, with credentials made once."""

import contextlib
import http.client
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib import util
from pathlib import Path
from typing import Any

from coursehub.stack import errors, leftovers, ports, processes
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.watchdog import Watchdog

WHEEL = "swift"
VARIABLE = "S3_ENDPOINT_URL"
BUCKET, REGION = "coursehub", "us-east-1"
_SERVER = Path(__file__).with_name("swift_server.py")
_METADATA_BYTES = 2048
"""What Swift keeps beside an object at most, in extended attributes."""


class Swift:
    """
    A server on a free port, the same one at every start of this object; objects survive whatever ends it.

    ``fast`` keeps nothing for after a crash of the machine.
    """

    name = "swift"

    def __init__(
        self,
        data: DataDirectory,
        *,
        watchdog: Watchdog,
        env: Mapping[str, str],
        fast: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.log, self._watchdog, self._env, self._fast = data.log(self.name), watchdog, env, fast
        if not is_available():
            raise errors.WheelMissing(WHEEL, VARIABLE, "it is not installed")
        self._link = data.path / self.name
        self._home = _home(self._link, say)
        self._secret, self._hash = data.secret("AWS_SECRET_ACCESS_KEY", 40), data.secret("SWIFT_HASH", 32)
        self.port = ports.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.child: processes.Child | None = None

    @property
    def env(self) -> dict[str, str]:
        """What tells boto3 where it is and who we are."""
        return {
            VARIABLE: self.url,
            "S3_PUBLIC_ENDPOINT_URL": self.url,
            "S3_BUCKET": BUCKET,
            "S3_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "coursehub:coursehub",
            "AWS_SECRET_ACCESS_KEY": self._secret,
        }

    @property
    def kept_elsewhere(self) -> Path | None:
        """The directory made for the objects where COURSEHUB_DATA cannot hold them."""
        return self._link.resolve() if self._link.is_symlink() else None

    def start(self) -> None:
        """
        Start the server and wait until it answers.

        Raises:
            StartFailed: it would not start; its log says why.
        """
        leftovers.end(leftovers.working_in([self._home]))
        self.child = processes.Child(
            self.name,
            [sys.executable, "-I", "-W", "ignore", _SERVER],
            log=self.log,
            watchdog=self._watchdog,
            env=self._env,
            cwd=self._home,
            stdin=json.dumps(self._settings()).encode(),  # not as arguments: every user of the machine sees those
        )
        self.child.wait_until(self._answers)
        self._create_bucket()

    def stop(self) -> None:
        """Shut the server down; what it answered for is on the disk."""
        if self.child:
            self.child.stop(grace_seconds=5)

    def _settings(self) -> dict[str, object]:
        secrets = {"secret": self._secret, "hash": self._hash}
        return {"port": self.port, "region": REGION, "fast": self._fast, **secrets}

    def _create_bucket(self) -> None:
        """Make the bucket; making it again changes nothing."""
        s3 = self.client()
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=BUCKET)

    def client(self) -> Any:
        """Give a boto3 client for this server."""
        import boto3  # a quarter of a second that a stack without Swift need not wait for
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self._secret,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", "/healthcheck")
            return connection.getresponse().status == 200
        return False


def is_available() -> bool:
    """Say whether there is a Swift for this machine: its wheels are for Linux."""
    return util.find_spec("swift") is not None


def holds_metadata(folder: Path) -> bool:
    """Say whether files there may have the extended attributes that Swift wants: tmpfs of older kernels has none."""
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        try:
            os.setxattr(probe.fileno(), "user.coursehub", bytes(_METADATA_BYTES))
        except (OSError, AttributeError):
            return False
    return True


def _home(link: Path, say: Callable[[str], None], holds: Callable[[Path], bool] = holds_metadata) -> Path:
    """Find the directory for the objects: where it should be, or else where its file system lets Swift work."""
    if link.is_symlink():
        return link.resolve()
    link.mkdir(mode=0o700, exist_ok=True)
    if holds(link):
        return link
    other = Path(tempfile.mkdtemp(prefix="coursehub-objects-", dir="/var/tmp"))
    if not holds(other):
        shutil.rmtree(other)
        raise errors.DataDirectoryUnusable(link, "its file system has no extended attributes, which Swift needs")
    link.rmdir()
    link.symlink_to(other)
    say(f"Files in {link.parent} cannot have extended attributes; uploaded objects are in {other}.")
    return other
