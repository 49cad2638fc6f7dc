"""Ways for a file into storage: boto3 alone, through the API by tus, and straight to storage with signed parts."""

import base64
import http.client
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from boto3.s3.transfer import TransferConfig

from benchmarks.uploads.files import MIB
from benchmarks.uploads.world import World
from demo.client import Api, Json

PARTS_AT_ONCE = 10
"""As many as boto3 sends at once by default."""
_BLOCK_BYTES = 256 * 1024
_PACED_BYTES, _PACED_SECONDS = 64 * 1024, 0.02
"""What `paced` sends, and how often."""


@dataclass(frozen=True, slots=True)
class Sent:
    """
    A file whose bytes are safe. Times are those of ``time.perf_counter``; boto3's uploads have no id.

    ``ended`` is when the last answer came: from then on the sender may go.
    """

    began: float
    ended: float
    upload_id: str = ""


Way = Callable[[World, Path], Sent]


def plain_one_at_a_time(world: World, path: Path) -> Sent:
    """boto3's upload_file with one part at a time."""
    return _plain(world, path, TransferConfig(max_concurrency=1, use_threads=False))


def plain(world: World, path: Path) -> Sent:
    """boto3's upload_file as it comes."""
    return _plain(world, path, TransferConfig())


def _plain(world: World, path: Path, config: TransferConfig) -> Sent:
    s3, began = world.s3(), time.perf_counter()
    s3.upload_file(str(path), world.bucket, f"plain/{time.time_ns()}", Config=config)
    return Sent(began, time.perf_counter())


def tus(world: World, path: Path) -> Sent:
    """One POST, and one PATCH with the whole file."""
    size, began = path.stat().st_size, time.perf_counter()
    metadata = {"filename": path.name, "filetype": "video/mp4", "target": json.dumps(world.target)}
    location = create_tus(world.api.again(), size, metadata)
    with path.open("rb") as file:
        patch(world, location, 0, size, iter(lambda: file.read(_BLOCK_BYTES), b""))
    return Sent(began, time.perf_counter(), location.rsplit("/", 1)[1])


def create_tus(api: Api, size: int, metadata: dict[str, str]) -> str:
    """Open an upload; returns its path."""
    pairs = (f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in metadata.items())
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(size), "Upload-Metadata": ",".join(pairs)}
    answer = api.request("POST", "uploads/tus/", None, headers)
    assert answer.status == 201, answer
    api.close()
    return answer.headers["Location"]


def patch(world: World, location: str, offset: int, length: int, body: Iterator[bytes]) -> None:
    """Send bytes to a tus upload, and insist that they were taken."""
    with _connected(world.stack.api_url) as connection:
        connection.putrequest("PATCH", location)
        headers = {"Upload-Offset": offset, "Content-Length": length, "Content-Type": "application/offset+octet-stream"}
        for name, value in ({"Tus-Resumable": "1.0.0", "Authorization": f"Bearer {world.api.token}"} | headers).items():
            connection.putheader(name, str(value))
        connection.endheaders()
        for block in body:
            connection.send(block)
        answer = connection.getresponse()
        assert answer.status == 204, (answer.status, answer.read())


def direct(world: World, path: Path) -> Sent:
    """Parts put to signed URLs, as many at once as boto3 does; then the word that all are there."""
    size, began, api = path.stat().st_size, time.perf_counter(), world.api.again()
    body = {"filename": path.name, "type": "video/mp4", "size": size, "target": world.target}
    opened = api.post("uploads/s3/multipart", body)
    assert opened.status == 202, opened
    upload_id = opened.body["uploadId"]
    part_size = api.get(f"uploads/{upload_id}/").data["partSize"]
    numbers = range(1, -(-size // part_size) + 1)
    with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
        parts = list(pool.map(lambda some: _put_parts(api.again(), upload_id, path, part_size, some), _dealt(numbers)))
    api.close()  # it may have been silent for longer than the server keeps connections
    sent = sorted((part for some in parts for part in some), key=lambda part: part["PartNumber"])
    done = api.post(f"uploads/s3/multipart/{upload_id}/complete", {"parts": sent})
    assert done.status == 202, done
    ended = time.perf_counter()
    api.close()
    return Sent(began, ended, upload_id)


def _dealt(numbers: range) -> list[range]:
    return [numbers[start::PARTS_AT_ONCE] for start in range(min(PARTS_AT_ONCE, len(numbers)))]


def _put_parts(api: Api, upload_id: str, path: Path, part_size: int, numbers: range) -> list[Json]:
    """Have parts signed one by one, as Uppy does, and put them."""
    done, connection = list[Json](), None
    try:
        for number in numbers:
            signed = api.get(f"uploads/s3/multipart/{upload_id}/{number}")
            assert signed.status == 200, signed
            parts = urlsplit(signed.body["url"])
            connection = connection or http.client.HTTPConnection(parts.netloc, timeout=120)
            connection.request("PUT", f"{parts.path}?{parts.query}", _piece(path, number, part_size))
            answer = connection.getresponse()
            assert answer.status == 200, (answer.status, answer.read())
            answer.read()
            done.append({"PartNumber": number, "ETag": answer.headers["ETag"]})
    finally:
        api.close()
        if connection:
            connection.close()
    return done


def _piece(path: Path, number: int, part_size: int) -> bytes:
    with path.open("rb") as file:
        file.seek((number - 1) * part_size)
        return file.read(part_size)


@contextmanager
def _connected(url: str) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    try:
        yield connection
    finally:
        connection.close()


def paced(world: World, seconds: float) -> dict[str, Any]:
    """
    Upload slowly, so that nothing waits in buffers; returns the upload's id and when how many bytes had been sent.

    What comes is no film; it is aborted afterwards.
    """
    blocks = round(seconds / _PACED_SECONDS)
    size, sent = blocks * _PACED_BYTES, list[tuple[int, float]]()

    def body() -> Iterator[bytes]:
        began = time.perf_counter()
        for number in range(blocks):
            time.sleep(max(0.0, began + number * _PACED_SECONDS - time.perf_counter()))
            yield bytes(_PACED_BYTES)
            sent.append(((number + 1) * _PACED_BYTES, time.perf_counter()))

    metadata = {"filename": "slow.mp4", "target": json.dumps(world.target)}
    location = create_tus(world.api.again(), size + MIB, metadata)
    patch(world, location, 0, size, body())
    upload_id = location.rsplit("/", 1)[1]
    ended = world.api.again().delete(f"uploads/{upload_id}/")
    assert ended.status < 300, ended
    return {"upload_id": upload_id, "sent": sent}
