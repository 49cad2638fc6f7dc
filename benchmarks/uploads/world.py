"""The stack, a user with a course to upload into, the files, and the bucket as boto3 alone would use it."""

import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.uploads import files
from benchmarks.uploads.files import MIB
from coursehub.stack import parts
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.stack import Stack
from demo.client import Api, Json, Listener, Received

PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Effort:
    """``one_bytes``: of the file that comes alone; ``each_bytes``: of the ``many`` that come at once."""

    one_bytes: int = 1024 * MIB
    each_bytes: int = 128 * MIB
    many: int = 8
    paced_seconds: float = 6.0


QUICK = Effort(one_bytes=128 * MIB, each_bytes=32 * MIB, many=4, paced_seconds=3.0)


class World:
    """A running CourseHub and everything that uploads to it."""

    def __init__(self, stack: Stack, folder: Path, effort: Effort) -> None:
        self.stack, self.effort, self._folder = stack, effort, folder
        self.api = Api(stack.api_url).register(f"bench-{secrets.token_hex(6)}", secrets.token_urlsafe(16))
        made = self.api.done(self.api.post("courses/", {"title": "Measured"}))
        self.course: str = made["steps"][0]["data"]["courseId"]
        made = self.api.done(self.api.post(f"courses/{self.course}/chapters/", {"title": "Films"}))
        self.chapter: str = made["steps"][0]["data"]["chapterId"]
        self.screen = Listener.of(self.api, self.course)

    @property
    def target(self) -> Json:
        """What every upload is for: a new video."""
        return {"kind": "video", "chapterId": self.chapter}

    def file(self, size: int) -> Path:
        """Give the file of this size, made when it is first wanted."""
        path = self._folder / f"{size}.mp4"
        return path if path.exists() else files.make(path, size)

    def s3(self) -> Any:
        """Make a boto3 client with its own defaults, for the same storage."""
        env = self.stack.env
        return boto3.session.Session().client(
            "s3",
            endpoint_url=env["S3_ENDPOINT_URL"],
            region_name=env["S3_REGION"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=50),
        )

    @property
    def bucket(self) -> str:
        return self.stack.env["S3_BUCKET"]

    def empty_bucket(self) -> None:
        """Delete every object, so that the disk does not fill; what the database thinks of them does not matter."""
        s3 = self.s3()
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for found in page.get("Contents", []):
                s3.delete_object(Bucket=self.bucket, Key=found["Key"])

    def heard(self, type_: str, upload_id: str) -> list[Received]:
        """Give the events of a type that came about an upload."""
        received = list(self.screen.log.received)
        return [one for one in received if one.frame["type"] == type_ and _upload_of(one.frame) == upload_id]

    def wait_complete(self, upload_id: str) -> float:
        """Wait for the end of an upload; returns when its event came (``time.perf_counter``)."""
        ends = ("upload-complete", "operation-failed")
        found = self.screen.wait_for_received(
            lambda frame: frame["type"] in ends and _upload_of(frame) == upload_id, PATIENCE_SECONDS
        )
        assert found.frame["type"] == "upload-complete", found.frame
        return found.at

    def settle(self) -> None:
        """Let what comes after an upload be over."""
        time.sleep(0.5)

    def close(self) -> None:
        self.screen.close()
        self.api.close()


def _upload_of(frame: Json) -> Any:
    return frame.get("data", {}).get("uploadId")


@contextmanager
def running(effort: Effort) -> Iterator[World]:
    """Run the stack as in earnest: its data and the files on the disk, nothing spared."""
    data = DataDirectory.temporary(in_memory=False)
    # One user sends all the files, and has half of the places.
    given = {"THROTTLE_USER": "0", "UPLOADS_AT_ONCE": str(2 * effort.many)}
    with (
        tempfile.TemporaryDirectory(prefix="coursehub-bench-") as folder,
        Stack(data, names=parts.DEFAULT, given=given, login=False) as stack,
    ):
        world = World(stack, Path(folder), effort)
        try:
            yield world
        finally:
            world.close()
