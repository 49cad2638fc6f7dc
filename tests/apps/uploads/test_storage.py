"""
The adapter against two real S3 that have no code in common, the embedded Swift and MiniStack.

Its twin in memory passes the same tests.
"""

import hashlib
import io
import os
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from django.core.management import CommandError, call_command
from pytest_django import Settings
from urllib3 import HTTPResponse

from apps.uploads import storage
from apps.uploads.storage import (
    ObjectMissing,
    StorageAway,
    StorageMisconfigured,
    Store,
    UploadMissing,
    client,
    process,
)
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.swift import Swift
from coursehub.stack.watchdog import Watchdog
from tests.support import ministack, peers
from tests.support.memory_store import MemoryStore
from tests.support.uploading import content

pytestmark = pytest.mark.pure
PART = 5 * 1024 * 1024


@pytest.fixture(scope="module")
def swift() -> Iterator[Swift]:
    watchdog, data = Watchdog(grace_seconds=1), DataDirectory.temporary()
    watchdog.remove(data.path)
    server = Swift(data, watchdog=watchdog, env=os.environ, fast=True)
    server.start()
    yield server
    server.stop()
    watchdog.close()


@pytest.fixture(scope="module")
def mini() -> Iterator[dict[str, str]]:
    """The variables of a MiniStack; where it was not installed its tests are skipped, except in CI."""
    if (missing := peers.why_no_ministack()) and not os.environ.get("CI"):
        pytest.skip(missing)
    with ministack.running() as variables:
        yield variables


@pytest.fixture
def of_swift(swift: Swift, settings: Settings) -> storage.ObjectStore:
    return _with(settings, swift.env)


@pytest.fixture
def of_ministack(mini: dict[str, str], settings: Settings) -> storage.ObjectStore:
    return _with(settings, mini)


def _with(settings: Settings, variables: Mapping[str, str]) -> storage.ObjectStore:
    for name, value in variables.items():
        setattr(settings, name, value)
    return process.make()


SERVERS = ["of_swift", "of_ministack"]


@pytest.fixture(params=SERVERS)
def real(request: pytest.FixtureRequest) -> storage.ObjectStore:
    store: storage.ObjectStore = request.getfixturevalue(request.param)
    return store


@pytest.fixture(params=[*SERVERS, "memory"])
def either(request: pytest.FixtureRequest) -> Store:
    return MemoryStore() if request.param == "memory" else request.getfixturevalue(request.param)


def opened(url: str, **how: Any) -> Any:
    """What a client gets for a signed URL, without a library of ours in between."""
    return urllib.request.urlopen(urllib.request.Request(url, **how))  # noqa: S310


def md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def test_an_object_is_written_read_in_ranges_looked_at_and_deleted(either: Store) -> None:
    either.put("a/small", io.BytesIO(b"0123456789"), content_type="image/png")
    assert either.get_range("a/small", 2, 3) == b"234"
    assert either.get_range("a/small", 8, 100) == b"89"
    assert either.get_range("a/small", 10, 1) == either.get_range("a/small", 0, 0) == b""
    found = either.head("a/small")
    assert (found.key, found.size, found.content_type) == ("a/small", 10, "image/png")
    either.delete("a/small")
    either.delete("a/small")
    with pytest.raises(ObjectMissing):
        either.head("a/small")
    with pytest.raises(ObjectMissing):
        either.get_range("a/small", 0, 1)


def test_a_multipart_upload_becomes_an_object_and_completing_it_again_does_no_harm(either: Store) -> None:
    upload = either.create_multipart("a/long", "video/mp4")
    pieces = [b"a" * PART, b"b" * 10]
    etags = [
        either.upload_part("a/long", upload, number, piece, md5=md5(piece)) for number, piece in enumerate(pieces, 1)
    ]
    assert [(part.number, part.etag, part.size) for part in either.list_parts("a/long", upload)] == [
        (1, etags[0], PART),
        (2, etags[1], 10),
    ]
    assert [(one.key, one.upload_id) for one in either.list_multiparts("a/")] == [("a/long", upload)]
    for _ in range(2):
        either.complete_multipart("a/long", upload, list(enumerate(etags, 1)))
    assert either.get_range("a/long", PART - 1, 3) == b"abb"
    assert (either.head("a/long").size, either.head("a/long").content_type) == (PART + 10, "video/mp4")
    assert list(either.list_multiparts("a/")) == []
    with pytest.raises(UploadMissing):
        either.upload_part("a/long", upload, 2, b"late")
    assert either.get_range("a/long", PART - 1, 3) == b"abb"
    either.delete("a/long")


def test_an_aborted_upload_is_gone(either: Store) -> None:
    upload = either.create_multipart("a/gone", "video/mp4")
    either.abort_multipart("a/gone", upload)
    either.abort_multipart("a/gone", upload)
    with pytest.raises(UploadMissing):
        either.upload_part("a/gone", upload, 1, b"x")
    with pytest.raises(UploadMissing):
        either.complete_multipart("a/gone", upload, [(1, '"0"')])


def test_a_part_that_is_not_what_it_should_be_is_refused(either: Store) -> None:
    upload = either.create_multipart("a/bad", "video/mp4")
    with pytest.raises(storage.StorageRefused):
        either.upload_part("a/bad", upload, 1, b"x", md5=md5(b"y"))
    either.abort_multipart("a/bad", upload)


def test_objects_are_listed_by_key_below_a_prefix_and_after_a_key(either: Store) -> None:
    for key in ("b/3", "b/1", "b/2", "c/1"):
        either.put(key, b"x")
    assert [found.key for found in either.list_objects("b/")] == ["b/1", "b/2", "b/3"]
    assert [found.key for found in either.list_objects("b/", after="b/1")] == ["b/2", "b/3"]


def test_a_signed_url_answers_with_our_headers_and_takes_ranges(real: storage.ObjectStore) -> None:
    real.put("d/film", b"0123456789", content_type="text/html")
    url = real.presign_get("d/film", 60, content_type="video/mp4", disposition="inline; filename*=utf-8''f%C3%BC.mp4")
    with opened(url, headers={"Range": "bytes=3-5"}) as answer:
        assert (answer.status, answer.read()) == (206, b"345")
        assert answer.headers["Content-Type"] == "video/mp4"
        assert answer.headers["Content-Disposition"] == "inline; filename*=utf-8''f%C3%BC.mp4"


def test_a_client_may_put_a_part_with_a_signed_url(real: storage.ObjectStore) -> None:
    upload = real.create_multipart("d/direct", "video/mp4")
    url = real.presign_part("d/direct", upload, 1, 60)
    with opened(url, data=b"film", method="PUT") as answer:
        real.complete_multipart("d/direct", upload, [(1, answer.headers["ETag"])])
    assert real.get_range("d/direct", 0, 10) == b"film"


def test_wrong_credentials_are_the_operators_to_mend(of_swift: storage.ObjectStore, settings: Settings) -> None:
    settings.AWS_SECRET_ACCESS_KEY = "wrong"
    with pytest.raises(StorageMisconfigured):
        process.make().put("d/x", b"")


def test_a_store_that_does_not_answer_is_away(settings: Settings) -> None:
    settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
    with pytest.raises(StorageAway):
        process.make().head("x")


@pytest.mark.parametrize(
    ("server", "at_first", "later"),
    [
        ("of_swift", *["CORS: left alone (NotImplemented), lifecycle: left alone (not understood)"] * 2),
        ("of_ministack", "CORS: set, lifecycle: set", "CORS: there, lifecycle: there"),
    ],
)
def test_the_bucket_is_made_once_and_checked_and_set_up(
    request: pytest.FixtureRequest,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    server: str,
    at_first: str,
    later: str,
) -> None:
    request.getfixturevalue(server)
    settings.S3_BUCKET, settings.CORS_ALLOWED_ORIGINS = "another", ["https://courses.example.com"]
    call_command("ensure_bucket")
    call_command("ensure_bucket")
    assert capsys.readouterr().out.splitlines() == [
        *("another was made and can be used.", at_first),
        *("another is there and can be used.", later),
    ]


def test_the_rules_of_a_new_bucket_are_those_that_uploads_need(
    of_ministack: storage.ObjectStore, settings: Settings
) -> None:
    settings.S3_BUCKET, settings.CORS_ALLOWED_ORIGINS = "ruled", ["https://courses.example.com"]
    call_command("ensure_bucket")
    s3 = client.make()
    (cors,) = s3.get_bucket_cors(Bucket="ruled")["CORSRules"]
    assert (cors["AllowedOrigins"], cors["ExposeHeaders"]) == (["https://courses.example.com"], ["ETag"])
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket="ruled")["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7} and "Expiration" not in rule


def test_a_bucket_that_cannot_be_used_is_the_operators_to_mend(
    of_swift: storage.ObjectStore, settings: Settings
) -> None:
    settings.AWS_SECRET_ACCESS_KEY = "wrong"
    with pytest.raises(CommandError, match=f"{settings.S3_BUCKET} cannot be used"):
        call_command("ensure_bucket")


@pytest.mark.parametrize(
    ("name", "value"),
    [("S3_BUCKET", "two words"), ("S3_REGION", "two words"), ("S3_ENDPOINT_URL", "http://two_words")],
)
@pytest.mark.parametrize("command", ["ensure_bucket", "reconcile_storage"])
@pytest.mark.django_db
def test_settings_that_no_store_can_have_are_the_operators_to_mend(
    settings: Settings, command: str, name: str, value: str
) -> None:
    storage.use(None)
    setattr(settings, name, value)
    with pytest.raises(CommandError, match=r"two.words"):
        call_command(command)


def test_storage_makes_parts_of_ranges_of_other_objects(either: Store) -> None:
    half = either.create_multipart("e/half", "video/mp4")
    body = content(PART + 7)
    etags = [either.upload_part("e/half", half, n, piece) for n, piece in enumerate([body[:PART], body[PART:]], 1)]
    either.complete_multipart("e/half", half, list(enumerate(etags, 1)))

    upload = either.create_multipart("e/whole", "video/mp4")
    etags = [
        either.copy_part("e/whole", upload, 1, "e/half", 1, PART),
        either.copy_part("e/whole", upload, 2, "e/half", PART - 3, 10),
    ]
    assert [part.size for part in either.list_parts("e/whole", upload)] == [PART, 10]
    either.complete_multipart("e/whole", upload, list(enumerate(etags, 1)))
    assert either.get_range("e/whole", 0, 2 * PART) == body[1 : PART + 1] + body[PART - 3 :]
    other = either.create_multipart("e/other", "video/mp4")
    with pytest.raises(ObjectMissing):
        either.copy_part("e/other", other, 1, "e/never", 0, PART)
    either.abort_multipart("e/other", other)


def test_deleting_leaves_no_version_behind(real: storage.ObjectStore, settings: Settings) -> None:
    settings.S3_BUCKET = "versioned"
    call_command("ensure_bucket")
    s3 = client.make()
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    store = process.make()
    for body in (b"first", b"second"):
        store.put("f/film", body)
    store.put("f/film-2", b"another, whose key begins alike")
    s3.delete_object(Bucket="versioned", Key="f/film")  # what a person does by hand: it only hides the object
    assert len(s3.list_object_versions(Bucket="versioned", Prefix="f/film")["Versions"]) == 3

    store.delete("f/film")
    left = s3.list_object_versions(Bucket="versioned", Prefix="f/film")
    assert [version["Key"] for version in left.get("Versions", [])] == ["f/film-2"]
    assert left.get("DeleteMarkers", []) == []


def test_checksums_that_not_every_s3_takes_are_not_sent(real: storage.ObjectStore) -> None:
    sent = list[str]()
    events = real._s3.meta.events
    events.register("before-send.s3", lambda request, **_: sent.extend(name.lower() for name in request.headers))

    upload = real.create_multipart("g/film", "video/mp4")
    etag = real.upload_part("g/film", upload, 1, io.BytesIO(b"film"), md5=md5(b"film"))
    real.complete_multipart("g/film", upload, [(1, etag)])
    real.put("g/small", b"x")
    real.get_range("g/film", 0, 4)
    real.delete("g/film")

    assert "content-md5" in sent
    assert not [name for name in sent if "checksum" in name or "trailer" in name]


@pytest.mark.parametrize(
    ("url", "is_signed"),
    [
        ("https://s3.eu-central-003.backblazeb2.com", False),
        ("", False),  # AWS
        ("http://127.0.0.1:9000", False),
        ("http://[::1]:9000", False),
        ("http://storage:9000", True),
        ("http://10.0.0.7:9000", True),
    ],
)
def test_bodies_are_signed_where_they_could_be_changed_on_their_way(
    settings: Settings, url: str, is_signed: bool
) -> None:
    settings.S3_ENDPOINT_URL, settings.AWS_ACCESS_KEY_ID, settings.AWS_SECRET_ACCESS_KEY = url, "key", "secret"
    store, signed = process.make(), list[str]()

    def instead_of_sending(request: Any, **_: Any) -> AWSResponse:
        signed.append(request.headers["X-Amz-Content-SHA256"].decode())
        return AWSResponse(request.url, 200, {"ETag": '"etag"'}, HTTPResponse(io.BytesIO(), preload_content=False))

    store._s3.meta.events.register("before-send.s3.UploadPart", instead_of_sending)
    store.upload_part("h/film", "upload", 1, io.BytesIO(b"film"))
    assert signed == [hashlib.sha256(b"film").hexdigest() if is_signed else "UNSIGNED-PAYLOAD"]
