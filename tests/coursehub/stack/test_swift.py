"""The embedded Swift."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from coursehub.stack import errors, swift
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.swift import Swift
from coursehub.stack.watchdog import Watchdog
from tests.coursehub.stack.conftest import as_ordinary_user, is_alive, until

pytestmark = pytest.mark.e2e


@pytest.fixture
def server(data: DataDirectory, watchdog: Watchdog) -> Iterator[Swift]:
    server = Swift(data, watchdog=watchdog, env=os.environ, fast=True)
    server.start()
    yield server
    server.stop()


def client(server: Swift, **other: str) -> "boto3.client":
    env = server.env | other
    return boto3.client(
        "s3",
        endpoint_url=env["S3_ENDPOINT_URL"],
        region_name=env["S3_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def members(server: Swift) -> list[int]:
    """The processes of the server's group that live."""
    assert server.child
    return [pid for pid in psutil.pids() if group_of(pid) == server.child.pid and is_alive(pid)]


def group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def test_only_who_knows_the_secret_gets_in(server: Swift) -> None:
    client(server).create_bucket(Bucket="films")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client(server, AWS_SECRET_ACCESS_KEY="guessed").list_buckets()


def test_it_listens_on_loopback_only_and_its_inner_servers_on_sockets_in_a_closed_directory(
    server: Swift, data: DataDirectory
) -> None:
    mine = {os.readlink(fd) for pid in members(server) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [words[1] for words in lines if words[3] == "0A" and f"socket:[{words[9]}]" in mine]
    assert listening == [f"0100007F:{server.port:04X}"]
    home = data.path / "swift"
    assert sorted(path.name for path in home.iterdir() if path.is_socket()) == ["1", "2", "3"]
    assert home.stat().st_mode & 0o777 == 0o700


def test_objects_and_open_multipart_uploads_survive_a_kill(server: Swift) -> None:
    s3 = client(server)
    s3.create_bucket(Bucket="films")
    s3.put_object(Bucket="films", Key="kept", Body=b"film", ContentType="video/mp4")
    upload = s3.create_multipart_upload(Bucket="films", Key="long")["UploadId"]
    part = {"Bucket": "films", "Key": "long", "UploadId": upload}
    etag = s3.upload_part(**part, PartNumber=1, Body=b"the end")["ETag"]
    assert server.child
    server.child.reap()
    server.start()
    found = s3.get_object(Bucket="films", Key="kept")
    assert (found["Body"].read(), found["ContentType"]) == (b"film", "video/mp4")
    s3.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert s3.get_object(Bucket="films", Key="long")["Body"].read() == b"the end"


@pytest.mark.parametrize("which", ["front", "storage"])
def test_when_one_of_its_processes_is_killed_the_other_ends(server: Swift, which: str) -> None:
    assert server.child
    front = server.child.pid
    until(lambda: len(members(server)) == 2)
    victim = front if which == "front" else next(pid for pid in members(server) if pid != front)
    os.kill(victim, signal.SIGKILL)
    server.child.wait()
    until(lambda: members(server) == [])


def test_one_that_a_killed_run_left_is_ended_first(server: Swift, data: DataDirectory, watchdog: Watchdog) -> None:
    left = members(server)
    again = Swift(data, watchdog=watchdog, env=os.environ, fast=True)
    again.start()
    assert not any(map(is_alive, left))
    assert again.env["AWS_SECRET_ACCESS_KEY"] == server.env["AWS_SECRET_ACCESS_KEY"]
    client(again).list_buckets()
    again.stop()


def test_a_directory_of_any_name_will_do(folder: Path, watchdog: Watchdog) -> None:
    data = DataDirectory.open(folder / "50% of=my; data #1 [ü]" / ("d" * 120))
    server = Swift(data, watchdog=watchdog, env=os.environ, fast=True)
    server.start()
    client(server).create_bucket(Bucket="films")
    server.stop()


def test_it_says_why_it_does_not_start(data: DataDirectory, watchdog: Watchdog) -> None:
    server = Swift(data, watchdog=watchdog, env=os.environ)
    (data.path / "swift" / "disk").write_text("no directory")
    with pytest.raises(errors.StartFailed, match=r"(?s)swift did not start: it ended with status 1.*FileExistsError"):
        server.start()


def test_objects_go_elsewhere_where_files_cannot_have_attributes(tmp_path: Path) -> None:
    said: list[str] = []
    link = tmp_path / "swift"
    home = swift._home(link, said.append, holds=lambda folder: folder != link)
    try:
        assert link.resolve() == home != link
        assert str(home) in said[0]
        assert swift._home(link, said.append, holds=lambda _: False) == home  # found again
    finally:
        home.rmdir()


def test_without_any_such_file_system_the_run_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(errors.DataDirectoryUnusable, match="extended attributes"):
        swift._home(tmp_path / "swift", lambda _: None, holds=lambda _: False)


def test_an_ordinary_user_can_run_it(folder: Path) -> None:
    home = folder / "data"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from coursehub.stack.datadir import DataDirectory\n"
        "from coursehub.stack.swift import Swift\n"
        "from coursehub.stack.watchdog import Watchdog\n"
        "watchdog = Watchdog()\n"
        "server = Swift(DataDirectory.open(sys.argv[1]), watchdog=watchdog, env=os.environ)\n"
        "server.start(); print(os.geteuid(), server._answers()); server.stop(); watchdog.close()\n"
    )
    command = as_ordinary_user([sys.executable, "-c", script, str(home / "mine")])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    uid, answered = done.stdout.split() or ("", done.stderr)
    assert answered == "True", done.stderr
    assert uid != "0"


TO_ONE_THAT_HAS_CLOSED = """
from types import SimpleNamespace
from coursehub.stack import swift_server

there = swift_server.listen("object")
connection = SimpleNamespace(port=swift_server.SERVERS["object"])
swift_server.connect(connection)
there.accept()[0].close()
connection.sock.sendall(b"")
try:
    connection.sock.sendall(b"x")
except BrokenPipeError:
    print("broken")
"""


def test_the_end_of_a_body_that_was_refused_already_does_not_hide_the_refusal(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", TO_ONE_THAT_HAS_CLOSED]
    env = os.environ | {"PYTHONPATH": str(Path(swift.__file__).parents[2])}
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("broken\n", "")
