"""Players: boto3's own signer, and curl, at the signed URLs."""

import math
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from email.message import Message
from email.parser import Parser
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config

from demo.client import Json, Listener
from tests.e2e.uploads.clients.conftest import content
from tests.e2e.uploads.clients.film import Film
from tests.support.stack import Cast, Site

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def film(site: Site, people: Cast) -> Iterator[Film]:
    """A film for all tests here."""
    cast = people.again()
    course = site.new_course(cast)
    tab = Listener.of(cast.owner, course.id)
    yield Film(cast.owner, course, tab, content())
    tab.close()
    cast.close()


@pytest.fixture(scope="module")
def played(film: Film) -> Json:
    """What the API says about playing it, once curl has sent its parts to storage."""
    given = {"filename": "Größe %22 1.mp4", "type": "text/html", "size": len(film.content), "target": film.target}
    created = film.owner.post("uploads/s3/multipart", {**given, "operationId": film.operation_id}).body
    path = f"uploads/s3/multipart/{created['uploadId']}"
    etags = [put(film.owner.get(f"{path}/{number}").body["url"], piece) for number, piece in pieces(film.content)]
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    assert film.owner.post(f"{path}/complete", {"parts": parts}).status == 202
    return film.playback(film.is_there())


def pieces(content: bytes) -> list[tuple[int, bytes]]:
    return [(1 + at // (5 * MIB), content[at : at + 5 * MIB]) for at in range(0, len(content), 5 * MIB)]


def put(url: str, piece: bytes) -> str:
    """Send a part with curl; returns its ETag."""
    return str(curl("--request", "PUT", "--data-binary", "@-", "--header", "Content-Type:", url, body=piece)[1]["ETag"])


def curl(*arguments: str, body: bytes = b"") -> tuple[int, Message, bytes]:
    """Run curl; returns the status, the headers and the body."""
    command = ["curl", "--silent", "--show-error", "--include", "--header", "Expect:", *arguments]
    said = subprocess.run(command, input=body, capture_output=True, check=True).stdout
    head, _, rest = said.partition(b"\r\n\r\n")
    status, _, lines = head.decode().partition("\r\n")
    return int(status.split()[1]), Parser().parsestr(lines), rest


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("0-9", 0, 9), ("10-19", 10, 19), (f"{5 * MIB - 2}-{5 * MIB + 2}", 5 * MIB - 2, 5 * MIB + 2)],
)
def test_curl_gets_a_range(played: Json, film: Film, wanted: str, first: int, last: int) -> None:
    status, headers, body = curl("--range", wanted, played["url"])

    assert (status, body) == (206, film.content[first : last + 1])
    assert headers["Content-Range"] == f"bytes {first}-{last}/{len(film.content)}"


def test_the_type_and_the_name_are_ours_whatever_the_uploader_said(played: Json) -> None:
    _, headers, _ = curl("--range", "-1", played["url"])

    assert headers["Content-Type"] == "video/mp4"
    assert headers["Content-Disposition"].startswith('inline; filename="')
    assert "filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%2522%201.mp4" in headers["Content-Disposition"]


def test_beyond_the_end_there_is_nothing(played: Json, film: Film) -> None:
    assert curl("--range", f"{len(film.content)}-", played["url"])[0] == 416


def test_the_url_holds_for_the_film_and_an_hour_and_for_nothing_else(played: Json) -> None:
    lasts = datetime.fromisoformat(played["expiresAt"]).timestamp() - time.time()
    (signed,) = parse_qs(urlsplit(played["url"]).query)["X-Amz-Expires"]

    assert 3_000 < lasts <= int(signed) == 3_600 + math.ceil(played["file"]["duration"])
    other = urlsplit(played["url"]).path.rsplit("/", 1)[0]
    assert curl(played["url"].replace(urlsplit(played["url"]).path, f"{other}/else"))[0] == 403


def test_boto3_reads_the_same_object_and_the_same_range(site: Site, played: Json, film: Film) -> None:
    env, (_, bucket, key) = site.stack.env, urlsplit(played["url"]).path.split("/", 2)
    s3 = boto3.client(
        "s3",
        endpoint_url=env["S3_ENDPOINT_URL"],
        region_name=env["S3_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )

    answer = s3.get_object(Bucket=bucket, Key=key, Range="bytes=100-199")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["Body"].read() == curl("--range", "100-199", played["url"])[2] == film.content[100:200]
    assert key.startswith(f"courses/{film.course.id}/") and "1.mp4" not in key
