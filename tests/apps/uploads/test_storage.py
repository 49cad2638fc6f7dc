"""The adapter against a real S3, the embedded Swift; its twin in memory passes the same tests."""

import hashlib
import io
import os
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from apps.uploads import storage
from apps.uploads.storage import ObjectMissing, StorageAway, StorageMisconfigured, Store, UploadMissing, process
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.swift import Swift
from coursehub.stack.watchdog import Watchdog
from tests.support.memory_store import MemoryStore

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


@pytest.fixture
def real(swift: Swift, settings: Settings) -> storage.ObjectStore:
    for name, value in swift.env.items():
        setattr(settings, name, value)
    return process.make()


@pytest.fixture(params=["swift", "memory"])
def either(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue("real") if request.param == "swift" else MemoryStore()


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


def test_wrong_credentials_are_the_operators_to_mend(real: storage.ObjectStore, settings: Settings) -> None:
    settings.AWS_SECRET_ACCESS_KEY = "wrong"
    with pytest.raises(StorageMisconfigured):
        process.make().put("d/x", b"")


def test_a_store_that_does_not_answer_is_away(settings: Settings) -> None:
    settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
    with pytest.raises(StorageAway):
        process.make().head("x")


def test_the_bucket_is_made_once_and_checked(
    real: storage.ObjectStore, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.S3_BUCKET = "another"
    call_command("ensure_bucket")
    call_command("ensure_bucket")
    assert capsys.readouterr().out.splitlines() == [
        "another was made and can be used.",
        "another is there and can be used.",
    ]
    settings.AWS_SECRET_ACCESS_KEY = "wrong"
    with pytest.raises(CommandError, match="another cannot be used"):
        call_command("ensure_bucket")
