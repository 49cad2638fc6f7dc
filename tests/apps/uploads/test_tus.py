"""tus 1.0: creation, going on, checksums, lengths that come later, concatenation, termination."""

import base64
import hashlib
import json
import random
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from apps.accounts.models import User
from apps.core import ids
from apps.uploads import leases, moving, storage
from apps.uploads.errors import Busy
from apps.uploads.models import Part, Purge, StoredFile, Upload, UploadStatus
from tests.support.api import ApiClient
from tests.support.memory_store import MemoryStore
from tests.support.uploading import MIB, TUS, Looker, Tus, content, metadata


@pytest.fixture
def target(chapter: str) -> dict[str, str]:
    return {"kind": "video", "chapterId": chapter}


def _stored(store: MemoryStore) -> bytes:
    return store.objects[StoredFile.objects.get().key].body


def test_options_say_what_is_understood_to_anyone(chapter: str) -> None:
    said = Tus(None).request("OPTIONS", TUS, tus_resumable="")
    assert said.status == 204
    assert said.headers["Tus-Version"] == said.headers["Tus-Resumable"] == "1.0.0"
    assert said.headers["Tus-Checksum-Algorithm"] == "sha1,sha256,md5"
    assert set(said.headers["Tus-Extension"].split(",")) == {
        *("creation", "creation-with-upload", "creation-defer-length", "termination", "checksum", "expiration"),
        "concatenation",
    }


def test_another_version_is_told_which_one_is_spoken(tus: Tus, target: Any) -> None:
    said = tus.create(4, target, Tus_Resumable="0.2.2")
    assert (said.status, said.headers["Tus-Version"]) == (412, "1.0.0")
    assert not Upload.objects.exists()


def _part_sizes(looker: Looker) -> list[int]:
    """Collect the sizes of the parts that the next upload is made of: they go when it is complete."""
    sizes: list[int] = []
    looker.meanwhile = lambda: sizes.extend(Part.objects.order_by("number").values_list("size", flat=True))
    return sizes


def test_a_file_in_many_requests_is_the_same_file(tus: Tus, target: Any, store: MemoryStore, looker: Looker) -> None:
    body, sizes = content(18 * MIB + 5), _part_sizes(looker)
    url = tus.create(len(body), target).url
    at = 0
    for size in (1, 3 * MIB, 9 * MIB, 64 * 1024, 5 * MIB, len(body)):
        said = tus.patch(url, at, body[at : at + size])
        assert said.status == 204
        at = said.offset
        head = tus.head(url)
        assert (head.status, head.offset, head.headers["Cache-Control"]) == (200, at, "no-store")

    assert _stored(store) == body
    assert StoredFile.objects.get().checksum == hashlib.sha256(body).hexdigest()
    assert sizes == [8 * MIB, 8 * MIB, 2 * MIB + 5]


def test_a_last_part_that_is_short_has_nothing_of_those_before(
    tus: Tus, target: Any, store: MemoryStore, looker: Looker
) -> None:
    sizes = _part_sizes(looker)
    body = random.Random(1).randbytes(66 * MIB + 5)  # more parts than there are files on the disk: each is written over
    url = tus.create(len(body), target).url
    assert tus.patch(url, 0, body).offset == len(body)
    assert sizes == [8 * MIB] * 8 + [2 * MIB + 5]
    assert _stored(store) == body


def test_what_is_left_over_is_beside_the_upload_and_replaced_as_it_grows(
    tus: Tus, target: Any, store: MemoryStore
) -> None:
    url = tus.create(20 * MIB, target).url
    tus.patch(url, 0, content(100))
    first = Upload.objects.get().tail_key
    tus.patch(url, 100, content(50))

    upload = Upload.objects.get()
    assert upload.tail_key != first and store.objects[upload.tail_key].body == content(100) + content(50)
    assert Purge.objects.filter(key=first).exists()


def test_a_body_that_breaks_off_counts_as_far_as_it_came(tus: Tus, target: Any, store: MemoryStore) -> None:
    body = content(100_000)
    url = tus.create(len(body), target).url
    said = tus.patch(url, 0, body[:70_000], Content_Length="100000")
    assert tus.head(url).offset == 70_000

    said = tus.patch(url, 70_000, body[70_000:])
    assert said.offset == len(body) and _stored(store) == body


@pytest.mark.parametrize("offset", [0, 1, 3, 5])
def test_another_offset_is_a_conflict_and_changes_nothing(tus: Tus, target: Any, offset: int) -> None:
    url = tus.create(10, target).url
    tus.patch(url, 0, b"fi")
    said = tus.patch(url, offset, b"lm")
    assert (said.status, said.error["offset"]) == (409, 2)
    assert tus.head(url).offset == 2


def test_more_than_was_announced_is_refused(tus: Tus, target: Any) -> None:
    url = tus.create(4, target).url
    assert tus.patch(url, 0, b"films").status == 413
    assert tus.head(url).offset == 0


def test_more_than_was_announced_does_not_end_the_upload_where_nobody_says_how_much_comes(
    tus: Tus, target: Any, store: MemoryStore
) -> None:
    body = content(16 * MIB)
    url = tus.create(len(body), target).url
    assert tus.patch(url, 0, body + b"more", Transfer_Encoding="chunked").status == 413
    at = tus.head(url).offset
    assert at < len(body)
    assert tus.patch(url, at, body[at:]).offset == len(body)
    assert _stored(store) == body


def test_an_empty_file_and_one_that_is_too_large_are_refused(tus: Tus, target: Any, settings: Any) -> None:
    settings.UPLOAD_MAX_BYTES = 10
    assert tus.create(0, target).status == 400
    assert tus.create(11, target).status == 413


@pytest.mark.parametrize(
    "headers",
    [
        {"upload-length": "-1"},
        {"upload-length": "4.0"},
        {"upload-length": "9" * 30},
        {"upload-length": "4", "upload-defer-length": "1"},
        {"upload-defer-length": "2"},
        {},
        {"upload-length": "4", "upload-concat": "final;"},
        {"upload-length": "4", "upload-concat": "whole"},
        {"upload-length": "4", "upload-metadata": "filename ***"},
        {"upload-length": "4", "upload-metadata": "filename /w=="},
        {"upload-length": "4", "upload-metadata": "filename Übung.mp4"},
        {"upload-length": "4", "upload-checksum": "sha1 é"},
        {"upload-concat": "final;" + TUS + "-" * 36},
        {"upload-length": "4", "upload-metadata": "target e30=,target e30="},
        {"upload-length": "4", "upload-metadata": "target W10="},
        {"upload-length": "4", "upload-metadata": "a " + "A" * 20_000},
    ],
)
def test_malformed_headers_are_refused(tus: Tus, chapter: str, headers: dict[str, str]) -> None:
    said = tus.request("POST", TUS, **headers)
    assert (said.status, said.error["code"]) == (400, "validation_error")
    assert not Upload.objects.exists()


def test_a_target_that_is_nested_deeply_is_none(tus: Tus, chapter: str) -> None:
    target = f'{{"kind": "media", "x": {"[" * 64}{"]" * 64}}}'
    said = tus.request("POST", TUS, upload_length="4", upload_metadata=metadata({"target": target}))
    assert (said.status, list(said.error["fields"])) == (400, ["Upload-Metadata"])


# Lengths that come later


def test_a_length_may_come_later(tus: Tus, target: Any, store: MemoryStore) -> None:
    url = tus.create(None, target).url
    assert tus.head(url).headers["Upload-Defer-Length"] == "1"
    tus.patch(url, 0, b"fi")
    said = tus.patch(url, 2, b"lm", Upload_Length="4")
    assert said.offset == 4 and _stored(store) == b"film"


def test_a_length_may_come_without_bytes(tus: Tus, target: Any, store: MemoryStore) -> None:
    url = tus.create(None, target).url
    tus.patch(url, 0, b"film")
    tus.patch(url, 4, b"", Upload_Length="4")
    assert _stored(store) == b"film"


def test_a_length_that_makes_an_upload_whole_counts_with_its_last_part(
    tus: Tus, target: Any, store: MemoryStore
) -> None:
    url = tus.create(None, target).url
    tus.patch(url, 0, b"film")
    store.fail_next("upload_part", storage.StorageAway())
    assert tus.patch(url, 4, b"", Upload_Length="4").status == 503
    assert tus.head(url).headers["Upload-Defer-Length"] == "1", "whoever reads that all is there sends no more"

    assert tus.patch(url, 4, b"", Upload_Length="4").status == 204
    assert _stored(store) == b"film"


def test_a_length_may_come_when_the_last_part_is_full(tus: Tus, target: Any, store: MemoryStore) -> None:
    url = tus.create(None, target).url
    body = content(Upload.objects.get().part_size)
    tus.patch(url, 0, body)
    assert Part.objects.count() == 1
    tus.patch(url, len(body), b"", Upload_Length=str(len(body)))
    assert _stored(store) == body


def test_a_length_may_be_said_with_every_request(tus: Tus, target: Any, store: MemoryStore) -> None:
    url = tus.create(None, target).url
    for offset, piece in ((0, b"fi"), (2, b"l"), (3, b"m")):
        assert tus.patch(url, offset, piece, Upload_Length="4").offset == offset + len(piece)
    assert _stored(store) == b"film"


def test_a_length_does_not_change(tus: Tus, target: Any) -> None:
    url = tus.create(4, target).url
    assert tus.patch(url, 0, b"fi", Upload_Length="5").status == 400
    assert tus.head(url).headers["Upload-Length"] == "4"


# Checksums


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_bytes_with_their_checksum_are_taken_others_thrown_away(
    tus: Tus, target: Any, algorithm: str, store: MemoryStore
) -> None:
    body = content(17 * MIB)
    url = tus.create(len(body), target).url

    def checksum(of: bytes) -> str:
        return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, of).digest()).decode()}"

    said = tus.patch(url, 0, body, Upload_Checksum=checksum(b"other"))
    assert (said.status, tus.head(url).offset) == (460, 0)
    assert not Part.objects.exists()
    assert tus.patch(url, 0, body, Upload_Checksum=checksum(body)).offset == len(body)
    assert _stored(store) == body


def test_a_body_with_a_checksum_that_breaks_off_is_thrown_away(tus: Tus, target: Any) -> None:
    url = tus.create(100, target).url
    checksum = "md5 " + base64.b64encode(hashlib.md5(b"film").digest()).decode()  # noqa: S324
    assert tus.patch(url, 0, b"fi", Upload_Checksum=checksum, Content_Length="4").status == 460
    assert tus.head(url).offset == 0


@pytest.mark.parametrize("value", ["crc32 AAAA", "md5 AAAA", "md5", "md5 ***"])
def test_a_checksum_that_is_none_is_refused(tus: Tus, target: Any, value: str) -> None:
    url = tus.create(4, target).url
    assert tus.patch(url, 0, b"film", Upload_Checksum=value).status == 400


def test_a_whole_file_that_is_not_the_announced_one_fails(tus: Tus, target: Any) -> None:
    url = tus.create(4, target, checksum=hashlib.sha256(b"other").hexdigest()).url
    tus.patch(url, 0, b"film")
    assert Upload.objects.get().error["code"] == "checksum_mismatch"


# Parts of a file, each an upload of its own


def _partial(tus: Tus, body: bytes) -> str:
    said = tus.request(
        "POST", TUS, body, upload_length=str(len(body)), upload_concat="partial",
        content_type="application/offset+octet-stream",
    )  # fmt: skip
    assert said.offset == len(body)
    return said.url


def _final(tus: Tus, urls: list[str], target: Any, **more: str) -> Any:
    import json

    given = metadata({"filename": "film.mp4", "target": json.dumps(target), **more})
    return tus.request("POST", TUS, upload_concat="final;" + " ".join(urls), upload_metadata=given)


@pytest.mark.parametrize(
    ("sizes", "copied"),
    [
        ((3, 4), 0),
        ((6 * MIB, 9 * MIB, 5), 2),
        ((100, 11 * MIB, 7), 1),
        ((100, 9 * MIB, 7), 0),
        ((12 * MIB, MIB, 9 * MIB + 3, 20), 2),
    ],
)
def test_partial_uploads_become_one_file_in_the_order_named(
    tus: Tus, target: Any, sizes: tuple[int, ...], copied: int, store: MemoryStore
) -> None:
    body = content(sum(sizes))
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    urls = [_partial(tus, body[start : start + size]) for start, size in zip(starts, sizes, strict=True)]
    assert tus.head(urls[0]).headers["Upload-Concat"] == "partial"
    said = _final(tus, urls, target)

    assert said.status == 201 and _stored(store) == body
    assert store.calls.get("copy_part", 0) == copied
    head = tus.head(said.url)
    assert (head.offset, head.headers["Upload-Concat"]) == (len(body), "final;" + " ".join(urls))
    assert tus.patch(said.url, len(body), b"more").status == 403
    assert [tus.head(url).offset for url in urls] == list(sizes), "those that were joined are whole"
    left = {purge.key for purge in Purge.objects.all()}
    assert {key for key in store.objects if key.startswith("partial/")} <= left


def test_a_final_upload_that_is_asked_for_again_is_the_same_one(tus: Tus, target: Any) -> None:
    urls = [_partial(tus, b"film")]
    first = _final(tus, urls, target, operationId="op")
    again = _final(tus, urls, target, operationId="op")

    assert (first.status, again.status, again.url) == (201, 201, first.url)
    assert _final(tus, urls, target).status == 409


def test_partial_uploads_that_are_not_whole_or_not_ones_own_are_refused(tus: Tus, target: Any, stranger: User) -> None:
    whole = _partial(tus, b"film")
    begun = tus.request("POST", TUS, upload_length="9", upload_concat="partial").url
    assert _final(tus, [whole, begun], target).status == 409
    assert _final(tus, [begun], target).status == 409
    assert _final(tus, [whole, whole], target).status == 404
    assert _final(tus, [whole, _partial(Tus(stranger), b"film")], target).status == 404


# Who, and how


def test_someone_elses_upload_does_not_exist(tus: Tus, target: Any, stranger: User) -> None:
    url = tus.create(4, target).url
    other = Tus(stranger)
    for said in (other.head(url), other.patch(url, 0, b"film"), other.request("DELETE", url)):
        assert said.status == 404
    assert Tus(None).head(url).status == 401
    assert tus.head(url).offset == 0


def test_methods_may_hide_behind_post(tus: Tus, target: Any, store: MemoryStore) -> None:
    url = tus.create(4, target).url
    sent = {"content_type": "application/offset+octet-stream", "upload_offset": "0"}
    assert tus.request("POST", url, b"film", x_http_method_override="PATCH", **sent).status == 204
    assert _stored(store) == b"film"


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_a_method_that_hid_behind_post_is_answered_and_logged_as_the_post_it_was(
    tus: Tus, chapter: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "coursehub.access"):
        sent = {"content_type": "application/offset+octet-stream", "upload_offset": "0"}
        said = tus.request("POST", f"{TUS}{ids.new_id()}", x_http_method_override=method, **sent)
    assert (said.status, said.error["code"]) == (404, "not_found")
    assert len(said.body) == int(said.headers["Content-Length"])
    assert [record.method for record in caplog.records if record.name == "coursehub.access"] == ["POST"]


def test_termination_ends_the_upload_and_its_operation(live: ApiClient, tus: Tus, target: Any) -> None:
    said = tus.create(4, target, operationId="op")
    tus.patch(said.url, 0, b"fi")
    assert tus.request("DELETE", said.url).status == 204

    assert tus.head(said.url).status == 410 and tus.patch(said.url, 2, b"lm").status == 410
    upload = Upload.objects.get()
    assert upload.status == UploadStatus.ABORTED and Purge.objects.filter(key__startswith=upload.key).exists()
    assert live.get("operations/op/").data["steps"][0]["error"]["code"] == "aborted"


def test_the_same_creation_again_is_the_same_upload(tus: Tus, target: Any) -> None:
    first = tus.create(4, target, operationId="op", stepId="a")
    again = tus.create(4, target, operationId="op", stepId="a")
    assert again.url == first.url and Upload.objects.count() == 1
    assert tus.create(5, target, operationId="op", stepId="a").status == 422


def test_a_name_is_made_safe(live: ApiClient, tus: Tus, target: Any) -> None:
    hostile = {
        "../../etc/passwd": "passwd",
        "C:\\films\\a.mp4": "a.mp4",
        "a\x00b.mp4": "ab.mp4",
        "gpj.\u202e4pm.exe": "gpj.4pm.exe",
        "x" * 10_000 + ".mp4": "x" * 251 + ".mp4",
        "...": "file",
    }
    for given, kept in hostile.items():
        video = tus.create(4, target, filename=given).headers["CourseHub-Video-Id"]
        assert live.get(f"videos/{video}/").data["filename"] == kept


# Two at once, and storage away


def test_a_holder_that_does_not_let_go_is_not_waited_for_for_ever(
    tus: Tus, target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = tus.create(4, target).url
    monkeypatch.setattr(leases, "PATIENCE_SECONDS", 0.2)
    with leases.held(Upload.objects.get().pk, ["uploading"], patience_seconds=0) as lease:
        assert lease is not None
        said = tus.patch(url, 0, b"film")
        assert (said.status, said.error["code"]) == (423, "locked")
        assert lease.wanted.is_set()
    assert tus.patch(url, 0, b"film").status == 204


def test_of_the_places_for_bytes_one_user_has_half(
    tus: Tus, target: Any, owner: User, stranger: User, settings: Any
) -> None:
    url, another = tus.create(4, target).url, Tus(stranger).create(4, {"kind": "media"}).url
    half = settings.UPLOADS_AT_ONCE // 2
    with ExitStack() as held:
        for _ in range(half):
            held.enter_context(moving._places.one_for(owner.pk))
        refused = tus.patch(url, 0, b"film")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert "your uploads" in refused.error["message"]
        assert Tus(stranger).patch(another, 0, b"fil").status == 204

        for user_id in (uuid4() for _ in range(half)):
            held.enter_context(moving._places.one_for(user_id))
        assert Tus(stranger).patch(another, 3, b"m").status == 503
    assert tus.patch(url, 0, b"film").status == Tus(stranger).patch(another, 3, b"m").status == 204


@pytest.mark.parametrize(("places", "of_each"), [(1, 1), (2, 1), (3, 2), (8, 4)])
def test_everyone_has_at_least_one_place(places: int, of_each: int) -> None:
    some, user_id = moving.Places(places), uuid4()
    with ExitStack() as held:
        for _ in range(of_each):
            held.enter_context(some.one_for(user_id))
        with pytest.raises(Busy), some.one_for(user_id):
            pass
    with some.one_for(user_id):
        pass


def test_storage_that_is_away_keeps_what_it_has_and_says_when_to_come_again(
    tus: Tus, target: Any, store: MemoryStore
) -> None:
    body = content(10 * MIB)
    url = tus.create(len(body), target).url
    store.fail_next("upload_part", storage.StorageAway())
    said = tus.patch(url, 0, body)
    assert (said.status, said.headers["Retry-After"]) == (503, "5")
    at = tus.head(url).offset
    assert at == 0

    assert tus.patch(url, at, body).status == 204
    assert _stored(store) == body


def test_parts_that_storage_lost_end_the_upload(tus: Tus, target: Any, store: MemoryStore) -> None:
    body = content(20 * MIB)
    url = tus.create(len(body), target).url
    tus.patch(url, 0, body[: 9 * MIB])
    store.uploads.clear()
    assert tus.patch(url, 9 * MIB, body[9 * MIB :]).status == 410
    assert Upload.objects.get().status == UploadStatus.ERROR


def test_quotas_count_what_is_open_and_what_is_there(tus: Tus, target: Any, settings: Any) -> None:
    settings.UPLOAD_QUOTA_BYTES = 10
    url = tus.create(6, target).url
    assert tus.create(5, target).error["code"] == "quota_exceeded"
    tus.patch(url, 0, b"a film")
    assert tus.create(5, target).status == 413
    settings.UPLOAD_QUOTA_BYTES, settings.UPLOADS_OPEN_MAX = 0, 1
    tus.create(5, target)
    assert tus.create(5, target).error["code"] == "quota_exceeded"


def test_a_session_with_its_csrf_token_uploads_like_a_bearer(owner: User, target: dict[str, str]) -> None:
    browser = Client(enforce_csrf_checks=True, raise_request_exception=False)
    browser.force_login(owner)
    browser.cookies["csrftoken"] = token = "a" * 32
    named = metadata({"filename": "film.mp4", "target": json.dumps(target)})
    sent = {"X-CSRFToken": token, "Tus-Resumable": "1.0.0", "Upload-Length": "4", "Upload-Metadata": named}
    answer = browser.generic("POST", TUS, b"film", "application/offset+octet-stream", headers=sent)
    assert (answer.status_code, answer.headers.get("Upload-Offset")) == (201, "4")
