"""Straight to storage: what Uppy asks of its companion, and what the other tabs see."""

from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from apps.accounts.models import User
from apps.core import clock
from apps.uploads import chores, direct, playback, storage
from apps.uploads.models import Purge, StoredFile, Upload
from tests.support.api import Answer, ApiClient, events_of
from tests.support.bridge import MemoryBridge
from tests.support.memory_store import MemoryStore
from tests.support.threads import until
from tests.support.uploading import MIB, content

MULTIPART = "uploads/s3/multipart"


@pytest.fixture
def target(chapter: str) -> dict[str, str]:
    return {"kind": "video", "chapterId": chapter}


def _create(api: ApiClient, target: Any, **more: Any) -> Answer:
    body = {"filename": "film.mp4", "type": "video/mp4", "metadata": {"target": target, **more}}
    return api.post(MULTIPART, body)


def _put(store: MemoryStore, number: int, body: bytes) -> dict[str, Any]:
    """PUT a part as a client does to its URL; returns what it then knows."""
    upload = Upload.objects.get()
    etag = store.upload_part(upload.key, upload.storage_upload_id, number, body)
    return {"PartNumber": number, "ETag": etag.strip('"')}


def test_a_file_in_parts_becomes_the_videos(live: ApiClient, course: str, target: Any, store: MemoryStore) -> None:
    body = content(11 * MIB)
    created = _create(live, target, size=str(len(body)), operationId="op")
    id_ = created.body["uploadId"]
    assert (created.status, created.body["operationId"], created.body["data"]["uploadId"]) == (202, "op", id_)
    assert created.body["key"].startswith(f"courses/{course}/")

    assert "partNumber=1" in live.get(f"{MULTIPART}/{id_}/1?key=x").body["url"]
    assert live.get(f"{MULTIPART}/{id_}/batch?partNumbers=2,3").body["presignedUrls"].keys() == {"2", "3"}
    parts = [_put(store, 1, body[: 6 * MIB]), _put(store, 2, body[6 * MIB :])]
    listed = live.get(f"{MULTIPART}/{id_}").body
    assert [(part["PartNumber"], part["Size"]) for part in listed] == [(1, 6 * MIB), (2, 5 * MIB)]
    done = live.post(f"{MULTIPART}/{id_}/complete", {"parts": parts})

    assert (done.status, done.body["key"]) == (202, created.body["key"]) and done.body["location"]
    assert store.objects[StoredFile.objects.get().key].body == body
    assert events_of(course)[-1]["type"] == "upload-complete"
    assert live.get("operations/op/").data["status"] == "succeeded"
    assert live.post(f"{MULTIPART}/{id_}/complete", {"parts": parts}).status == 202


def test_what_the_client_reports_is_seen_by_everyone(live: ApiClient, target: Any, bridge: MemoryBridge) -> None:
    id_ = _create(live, target, size=10 * MIB).body["uploadId"]
    live.get(f"{MULTIPART}/{id_}/1")
    report = {"parts": [{"PartNumber": 1, "ETag": "e", "Size": 5 * MIB}]}
    assert live.post(f"{MULTIPART}/{id_}/parts", report).data["progress"] == 50

    until(lambda: any(event["data"]["progress"] == 50 for event in bridge.progress), "progress")
    data = bridge.progress[-1]["data"]
    assert (data["bytes"], data["total"], data["status"]) == (5 * MIB, 10 * MIB, "uploading")
    assert live.get(f"uploads/{id_}/").data["bytes"] == 5 * MIB


def test_progress_does_not_go_back_when_the_last_parts_were_not_reported(
    live: ApiClient, target: Any, store: MemoryStore, bridge: MemoryBridge
) -> None:
    body = content(8 * MIB)
    id_ = _create(live, target, size=len(body)).body["uploadId"]
    live.get(f"{MULTIPART}/{id_}/1")
    parts = [_put(store, 1, body[: 5 * MIB])]
    live.get(f"{MULTIPART}/{id_}")
    parts.append(_put(store, 2, body[5 * MIB :]))
    live.post(f"{MULTIPART}/{id_}/complete", {"parts": parts})

    figures = [(event["data"]["status"], event["data"]["progress"]) for event in bridge.progress]
    assert figures[-2:] == [("uploading", 100), ("processing", 100)]


def test_a_lie_about_the_size_is_found_out(live: ApiClient, course: str, target: Any, store: MemoryStore) -> None:
    id_ = _create(live, target, size=5 * 1024**3).body["uploadId"]
    live.get(f"{MULTIPART}/{id_}/1")
    live.post(f"{MULTIPART}/{id_}/complete", {"parts": [_put(store, 1, b"ten bytes!")]})

    failed = events_of(course)[-1]["data"]
    assert (failed["error"]["code"], failed["error"]["found"]) == ("size_mismatch", 10)
    assert Purge.objects.filter(key=Upload.objects.get().key).exists()


def test_a_size_that_nobody_said_is_known_in_the_end(live: ApiClient, target: Any, store: MemoryStore) -> None:
    id_ = _create(live, target).body["uploadId"]
    live.get(f"{MULTIPART}/{id_}/1")
    live.post(f"{MULTIPART}/{id_}/complete", {"parts": [_put(store, 1, b"film")]})

    upload = live.get(f"uploads/{id_}/").data
    assert (upload["status"], upload["progress"], upload["bytes"], upload["total"]) == ("complete", 100, 4, 4)


@pytest.mark.parametrize(
    ("setting", "code"), [("UPLOAD_MAX_BYTES", "payload_too_large"), ("UPLOAD_QUOTA_BYTES", "quota_exceeded")]
)
def test_a_size_that_nobody_said_is_held_to_the_limits(
    live: ApiClient, course: str, target: Any, store: MemoryStore, settings: Settings, setting: str, code: str
) -> None:
    setattr(settings, setting, 9)
    id_ = _create(live, target).body["uploadId"]
    live.get(f"{MULTIPART}/{id_}/1")
    live.post(f"{MULTIPART}/{id_}/complete", {"parts": [_put(store, 1, b"ten bytes!")]})

    failed = events_of(course)[-1]["data"]
    assert (failed["error"]["code"], failed["error"]["maximum"]) == (code, 9)
    assert Purge.objects.filter(key=Upload.objects.get().key).exists()


def test_parts_that_storage_does_not_have_fail_the_upload(live: ApiClient, target: Any) -> None:
    id_ = _create(live, target).body["uploadId"]
    assert live.post(f"{MULTIPART}/{id_}/complete", {"parts": [{"PartNumber": 1, "ETag": "e"}]}).status == 409
    live.get(f"{MULTIPART}/{id_}/1")
    live.post(f"{MULTIPART}/{id_}/complete", {"parts": [{"PartNumber": 1, "ETag": "e"}]})
    assert Upload.objects.get().error["code"] == "processing_failed"


@pytest.mark.parametrize("path", ["parts", "complete"])
@pytest.mark.parametrize(
    ("etags", "field"), [(["e", "f"], "parts"), (["e" * 254], "parts.0.ETag")], ids=["one part twice", "a long ETag"]
)
def test_parts_that_cannot_be_are_refused(
    live: ApiClient, target: Any, path: str, etags: list[str], field: str
) -> None:
    id_ = _create(live, target).body["uploadId"]
    live.get(f"{MULTIPART}/{id_}/1")
    said = live.post(f"{MULTIPART}/{id_}/{path}", {"parts": [{"PartNumber": 1, "ETag": etag} for etag in etags]})
    assert (said.status, list(said.body["error"]["fields"])) == (400, [field])


def test_the_longest_etag_is_kept(live: ApiClient, target: Any) -> None:
    id_ = _create(live, target).body["uploadId"]
    assert live.post(f"{MULTIPART}/{id_}/parts", {"parts": [{"PartNumber": 1, "ETag": "e" * 253}]}).status == 200


def test_no_report_comes_to_more_than_a_file_may_have(live: ApiClient, target: Any, settings: Settings) -> None:
    id_ = _create(live, target).body["uploadId"]
    parts = [{"PartNumber": number, "ETag": "e", "Size": 2**53 - 1} for number in range(1, 1101)]
    assert live.post(f"{MULTIPART}/{id_}/parts", {"parts": parts}).data["bytes"] == settings.UPLOAD_MAX_BYTES


@pytest.mark.parametrize("what", ["the upload", "its video"])
def test_what_ends_before_its_object_is_made_is_not_asked_of_storage(
    live: ApiClient,
    course: str,
    target: Any,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    what: str,
) -> None:
    created = _create(live, target, operationId="op").body
    live.get(f"{MULTIPART}/{created['uploadId']}/1")
    parts = [_put(store, 1, b"film")]
    path = f"uploads/{created['uploadId']}/" if what == "the upload" else f"videos/{created['data']['videoId']}/"
    list_parts = store.list_parts

    def list_and_end(key: str, upload_id: str) -> Any:
        live.delete(path)
        return list_parts(key, upload_id)

    monkeypatch.setattr(store, "list_parts", list_and_end)
    live.post(f"{MULTIPART}/{created['uploadId']}/complete", {"parts": parts})

    assert "complete_multipart" not in store.calls
    assert live.get("operations/op/").data["steps"][0]["error"]["code"] in ("aborted", "gone")
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_what_ends_while_its_object_is_made_is_no_fault_of_storage(
    live: ApiClient,
    target: Any,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    id_ = _create(live, target).body["uploadId"]
    live.get(f"{MULTIPART}/{id_}/1")
    parts = [_put(store, 1, b"film")]

    def end(*_: object) -> None:
        live.delete(f"uploads/{id_}/")
        raise storage.UploadMissing("NoSuchUpload")

    monkeypatch.setattr(store, "complete_multipart", end)
    live.post(f"{MULTIPART}/{id_}/complete", {"parts": parts})

    assert live.get(f"uploads/{id_}/").data["status"] == "aborted"
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_what_is_still_being_signed_does_not_expire(live: ApiClient, target: Any) -> None:
    id_ = _create(live, target, size=10 * MIB).body["uploadId"]
    Upload.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    live.get(f"{MULTIPART}/{id_}/1")
    chores.expire()

    assert live.get(f"uploads/{id_}/").data["status"] == "uploading"


def test_aborting_ends_it(live: ApiClient, target: Any) -> None:
    id_ = _create(live, target, operationId="op").body["uploadId"]
    live.get(f"{MULTIPART}/{id_}/1")
    assert live.delete(f"{MULTIPART}/{id_}?key=x").status == 200
    assert live.get(f"{MULTIPART}/{id_}/2").status == 410
    assert live.get("operations/op/").data["status"] == "failed"


@pytest.mark.parametrize("path", ["uploads/{}/", "uploads/s3/multipart/{}"])
@pytest.mark.parametrize("body", [b'{"x": 1}', b"{nope", b"[]"])
def test_aborting_takes_nothing_that_it_does_not_know(live: ApiClient, target: Any, path: str, body: bytes) -> None:
    id_ = _create(live, target).body["uploadId"]
    refused = live.delete(path.format(id_), body)
    assert (refused.status, refused.error["code"]) == (400, "validation_error")
    assert live.get(f"uploads/{id_}/").data["status"] == "uploading"


def test_someone_elses_and_impossible_parts_are_refused(live: ApiClient, target: Any, stranger: User) -> None:
    id_ = _create(live, target).body["uploadId"]
    other = ApiClient(stranger)
    for path in ("", "/1", "/batch?partNumbers=1"):
        assert other.get(f"{MULTIPART}/{id_}{path}").status == 404
    assert other.post(f"{MULTIPART}/{id_}/complete", {"parts": [{"PartNumber": 1, "ETag": "e"}]}).status == 404
    for path in ("/0", "/10001", "/batch?partNumbers=", "/batch?partNumbers=1,0"):
        assert live.get(f"{MULTIPART}/{id_}{path}").status == 400
    assert live.post(MULTIPART, {"filename": "a.mp4"}).status == 400
    assert live.get("uploads/s3/params?filename=a").status == 400


@pytest.mark.parametrize(("size", "last"), [(1, 1), (5 * MIB, 1), (5 * MIB + 1, 2), (None, 3)])
def test_only_as_many_parts_are_signed_as_a_file_of_that_size_can_have(
    live: ApiClient, target: Any, settings: Settings, size: int | None, last: int
) -> None:
    settings.UPLOAD_MAX_BYTES = 15 * MIB
    id_ = _create(live, target, **({"size": size} if size else {})).body["uploadId"]
    assert live.get(f"{MULTIPART}/{id_}/{last}").status == 200
    for refused in (
        live.get(f"{MULTIPART}/{id_}/{last + 1}"),
        live.get(f"{MULTIPART}/{id_}/batch?partNumbers=1,{last + 1}"),
        live.post(f"{MULTIPART}/{id_}/batch", {"partNumbers": [1, last + 1]}),
    ):
        assert (refused.status, refused.error["fields"]) == (
            400,
            {"partNumbers": [f"Parts of this file are numbered from 1 to {last}."]},
        )


def test_a_thousand_parts_are_signed_at_a_time_each_once(
    live: ApiClient, target: Any, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: list[int] = []
    monkeypatch.setattr(store, "presign_part", lambda _key, _id, number, _seconds: str(signed.append(number)))
    batch = f"{MULTIPART}/{_create(live, target).body['uploadId']}/batch"
    refused = live.post(batch, {"partNumbers": list(range(1, 1002))})
    assert (refused.status, list(refused.error["fields"])) == (400, ["partNumbers"])
    assert live.get(f"{batch}?partNumbers={','.join(map(str, range(1, 1002)))}").status == 400

    given = live.post(batch, {"partNumbers": [2, 1] * 500}).body["presignedUrls"]
    assert (list(given), signed) == (["1", "2"], [1, 2])
    assert len(live.post(batch, {"partNumbers": list(range(1, 1001))}).body["presignedUrls"]) == 1000


@pytest.mark.parametrize("asks", ["/1", "/batch?partNumbers=1", ""])
@pytest.mark.parametrize(
    ("said", "limits", "code"),
    [
        ({"size": 4}, {}, "payload_too_large"),
        ({}, {"UPLOAD_MAX_BYTES": 4}, "payload_too_large"),
        ({}, {"UPLOAD_QUOTA_BYTES": 4}, "quota_exceeded"),
    ],
)
def test_an_upload_of_which_storage_has_too_much_ends_at_once(
    live: ApiClient,
    course: str,
    target: Any,
    store: MemoryStore,
    settings: Settings,
    asks: str,
    said: dict[str, int],
    limits: dict[str, int],
    code: str,
) -> None:
    for name, value in limits.items():
        setattr(settings, name, value)
    id_ = _create(live, target, **said).body["uploadId"]
    live.get(f"{MULTIPART}/{id_}/1")
    _put(store, 1, b"films")
    direct._looked_at.clear()

    refused = live.get(f"{MULTIPART}/{id_}{asks}")
    assert (refused.status, refused.error["code"]) == (413, code)
    failed = events_of(course)[-1]
    assert (failed["type"], failed["data"]["error"]) == ("operation-failed", refused.error)
    assert Purge.objects.filter(key=Upload.objects.get().key).exclude(storage_upload_id="").exists()
    assert live.get(f"{MULTIPART}/{id_}/1").status == 410


def test_an_upload_of_which_storage_has_all_goes_on(live: ApiClient, target: Any, store: MemoryStore) -> None:
    id_ = _create(live, target, size=4).body["uploadId"]
    live.get(f"{MULTIPART}/{id_}/1")
    _put(store, 1, b"film")
    direct._looked_at.clear()
    assert live.get(f"{MULTIPART}/{id_}/1").status == live.get(f"{MULTIPART}/{id_}").status == 200


def test_while_storage_is_busy_with_questions_only_those_who_need_an_answer_are_refused(
    live: ApiClient, target: Any, store: MemoryStore
) -> None:
    id_ = _create(live, target).body["uploadId"]
    live.get(f"{MULTIPART}/{id_}/1")
    other = _create(live, target).body["uploadId"]
    with ExitStack() as questions:
        for _ in range(direct._ASKING_AT_ONCE):
            questions.enter_context(direct._asking())
        for path in (f"{other}/1", id_):
            refused = live.get(f"{MULTIPART}/{path}")
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        direct._looked_at.clear()
        asked = store.calls.copy()
        assert live.get(f"{MULTIPART}/{id_}/2").status == 200 and store.calls == asked
    assert live.get(f"{MULTIPART}/{other}/1").status == live.get(f"{MULTIPART}/{id_}").status == 200


# Either way


def test_ones_own_uploads_are_listed_and_those_to_go_on_with(live: ApiClient, target: Any, stranger: User) -> None:
    first = _create(live, target).body["uploadId"]
    second = _create(live, target).body["uploadId"]
    live.delete(f"uploads/{first}/")
    assert [row["id"] for row in live.get("uploads/").body["data"]] == [second, first]
    assert [row["id"] for row in live.get("uploads/?resumable=true").body["data"]] == [second]
    assert ApiClient(stranger).get("uploads/").body["data"] == []
    assert ApiClient(stranger).delete(f"uploads/{second}/").status == 404


def test_a_playback_url_lasts_as_long_as_the_video_and_names_its_own_type(
    live: ApiClient, target: Any, store: MemoryStore, stranger: User
) -> None:
    id_ = _create(live, target).body["uploadId"]
    video = Upload.objects.get().target["videoId"]
    assert live.get(f"videos/{video}/playback/").status == 409
    live.get(f"{MULTIPART}/{id_}/1")
    live.post(f"{MULTIPART}/{id_}/complete", {"parts": [_put(store, 1, b"film")]})
    StoredFile.objects.update(duration_ms=5 * 3600 * 1000)
    given = live.get(f"videos/{video}/playback/").data

    assert f"seconds={6 * 3600}" in given["url"] and "response-content-type=video%2Fmp4" in given["url"]
    assert "inline%3B+filename%3D%22film.mp4" in given["url"]
    assert ApiClient(stranger).get(f"videos/{video}/playback/").status == 404


@pytest.mark.parametrize(("hours", "holds"), [(0, 1), (22, 23), (23, 24), (200, 24)])
def test_a_playback_url_holds_for_an_hour_at_least_and_a_day_at_most(hours: int, holds: int) -> None:
    file = StoredFile(key="k", content_type="video/mp4", filename="film.mp4", duration_ms=hours * 3_600_000)
    file.size, file.created_at = 1, clock.now()
    given = playback.of(file)
    assert f"seconds={holds * 3600}" in given["url"]
    left = datetime.fromisoformat(given["expiresAt"]) - clock.now()
    assert timedelta(hours=holds, seconds=-10) < left <= timedelta(hours=holds)
