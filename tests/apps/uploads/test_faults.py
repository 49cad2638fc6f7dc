"""What must lose or leak nothing: workers that die, storage that is away, uploads that nobody goes on with."""

import hashlib
import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import IO, Any

import pytest

from apps.core import clock, sql
from apps.operations import hints as lanes
from apps.operations import services as operations
from apps.operations import tasks
from apps.operations.models import Operation
from apps.outbox import progress
from apps.outbox.emit import Draft
from apps.outbox.progress import Sender
from apps.uploads import chores, completion, hints, purges, storage
from apps.uploads.models import Purge, StoredFile, Upload, UploadStatus
from tests.support.api import ApiClient, events_of
from tests.support.bridge import MemoryBridge
from tests.support.memory_store import MemoryStore
from tests.support.threads import together
from tests.support.uploading import MIB, TUS, Looker, Said, Tus, content, metadata


@pytest.fixture
def target(chapter: str) -> dict[str, str]:
    return {"kind": "video", "chapterId": chapter}


def _types(course: str) -> list[str]:
    return [event["type"] for event in events_of(course)]


def _due() -> None:
    """Let the pause before the next try be over."""
    Upload.objects.update(retry_at=None, created_at=clock.now() - timedelta(minutes=1))


def _take_over() -> uuid.UUID:
    """Do what somebody else does when a lease has run out; returns the new one's token."""
    token = uuid.uuid4()
    Upload.objects.update(lease_token=token, lease_expires_at=clock.now() + timedelta(seconds=10))
    return token


class _SlowStore(MemoryStore):
    """Storage so slow that somebody else has taken an upload over by the time something is put there."""

    token: uuid.UUID

    def put(self, key: str, body: bytes | IO[bytes], *, content_type: str = "application/octet-stream") -> str:
        self.token = _take_over()
        return super().put(key, body, content_type=content_type)


@pytest.mark.parametrize("verb", ["complete_multipart", "head", "get_range"])
def test_storage_that_is_away_is_asked_again_later(
    tus: Tus, target: Any, course: str, store: MemoryStore, verb: str
) -> None:
    store.fail_next(verb, storage.StorageAway())
    tus.create(4, target, body=b"film")
    assert Upload.objects.get().status == UploadStatus.PROCESSING
    chores.complete_left()
    assert Upload.objects.get().status == UploadStatus.PROCESSING, "it is not due"

    _due()
    chores.complete_left()
    assert Upload.objects.get().status == UploadStatus.COMPLETE
    assert _types(course).count("upload-complete") == 1


class _Deadly(Sender):
    """Where the API is killed: while it waits for the last figure to be out."""

    def finish(self, key: str, draft: Draft | None = None, patience_seconds: float = 0) -> None:
        if draft:
            raise SystemExit


def test_an_api_that_dies_after_the_last_byte_leaves_the_upload_to_the_workers(
    tus: Tus, target: Any, bridge: MemoryBridge
) -> None:
    said = tus.create(4, target)
    progress.use(_Deadly(bridge))
    with pytest.raises(SystemExit):
        tus.patch(said.url, 0, b"film")
    progress.use(None)
    _due()
    chores.complete_left()

    upload = Upload.objects.get()
    assert upload.status == UploadStatus.COMPLETE
    assert upload.checksum == hashlib.sha256(b"film").hexdigest()


def _left_whole(tus: Tus, target: Any) -> Said:
    """Upload a file as it once could be left: with all its bytes, and nobody told."""
    hints.use(lambda upload_id: None)
    said = tus.create(4, target, body=b"film")
    hints.use(completion.complete)
    Upload.objects.update(status=UploadStatus.UPLOADING)
    return said


def test_an_empty_request_at_the_end_of_a_whole_upload_has_it_completed(tus: Tus, target: Any) -> None:
    url = _left_whole(tus, target).url
    for _ in range(2):
        assert tus.patch(url, 4, b"").status == 204
        assert Upload.objects.get().status == UploadStatus.COMPLETE


def test_the_migration_completes_whole_uploads_and_no_others(tus: Tus, target: Any) -> None:
    _left_whole(tus, target)
    tus.create(4, target, body=b"fi", Content_Length="4")
    tus.request(
        "POST", TUS, b"film", upload_length="4", upload_concat="partial", content_type="application/offset+octet-stream"
    )
    migration = import_module("apps.uploads.migrations.0005_whole_uploads")
    sql.execute(migration.HAND_OVER, [])
    _due()
    chores.complete_left()
    found = sorted(Upload.objects.values_list("status", "is_partial", "offset"))
    assert found == [("complete", False, 4), ("uploading", False, 2), ("uploading", True, 4)]


def test_a_worker_that_dies_leaves_it_to_the_next(tus: Tus, target: Any, course: str, looker: Looker) -> None:
    looker.failures = [SystemExit()]
    with pytest.raises(SystemExit):
        tus.create(4, target, body=b"film")
    _due()
    chores.complete_left()
    assert Upload.objects.get().status == UploadStatus.COMPLETE
    assert _types(course).count("upload-complete") == 1


def test_a_request_that_lost_the_lease_writes_nothing_and_frees_nothing(tus: Tus, target: Any) -> None:
    storage.use(store := _SlowStore())
    url = tus.create(20 * MIB, target).url
    said = tus.patch(url, 0, content(100))

    assert (said.status, said.error["code"]) == (423, "locked")
    upload = Upload.objects.get()
    assert (upload.offset, upload.tail_key, upload.lease_token) == (0, "", store.token)


def test_a_worker_that_lost_the_lease_records_nothing_and_frees_nothing(
    tus: Tus, target: Any, course: str, looker: Looker
) -> None:
    tokens: list[uuid.UUID] = []
    looker.meanwhile = lambda: tokens.append(_take_over())
    tus.create(4, target, body=b"film")

    upload = Upload.objects.get()
    assert (upload.status, [upload.lease_token]) == (UploadStatus.PROCESSING, tokens)
    assert not StoredFile.objects.exists() and "upload-complete" not in _types(course)


def test_a_file_that_kills_its_worker_is_given_up_and_can_be_tried_again(
    live: ApiClient, tus: Tus, target: Any, looker: Looker
) -> None:
    looker.failures = [ZeroDivisionError() for _ in range(completion.TRIES_MAX)]
    tus.create(4, target, body=b"film", operationId="op")  # the worker that is infinitely fast crashes within it
    for _ in range(completion.TRIES_MAX):
        _due()
        chores.complete_left()
    assert Upload.objects.get().error["code"] == "processing_failed"
    assert live.get("operations/op/").data["status"] == "failed"

    upload = Upload.objects.get()
    again = live.post(f"uploads/{upload.pk}/retry/", {"operationId": "again"})
    assert (again.status, again.data["retryOf"]) == (202, "op")
    _due()
    chores.complete_left()
    assert live.get("operations/again/").data["status"] == "succeeded"
    assert live.get(f"videos/{upload.target['videoId']}/").data["status"] == "complete"
    assert live.post(f"uploads/{upload.pk}/retry/").status == 409


def test_an_aborted_upload_may_be_sent_again_from_the_beginning(live: ApiClient, tus: Tus, target: Any) -> None:
    said = tus.create(4, target, operationId="op")
    tus.patch(said.url, 0, b"fi")
    assert Upload.objects.get().reported == 2
    live.delete(f"uploads/{said.upload_id}/")
    again = live.post("operations/op/retry/", {"operationId": "again"})
    assert again.status == 202

    assert (tus.head(said.url).offset, Upload.objects.get().reported) == (0, 0)
    tus.patch(said.url, 0, b"film")
    assert live.get("operations/again/").data["status"] == "succeeded"
    assert live.get(f"videos/{said.headers['CourseHub-Video-Id']}/").data["file"]["size"] == 4


def test_what_is_sent_again_has_a_key_of_its_own(live: ApiClient, tus: Tus, target: Any) -> None:
    said = tus.create(12 * MIB, target, body=content(9 * MIB))
    live.delete(f"uploads/{said.upload_id}/")
    assert Purge.objects.filter(key=Upload.objects.get().key).exists()
    live.post(f"uploads/{said.upload_id}/retry/")

    again = Upload.objects.get()
    assert again.status == UploadStatus.UPLOADING
    assert not Purge.objects.filter(key=again.key).exists(), "its object is going to be deleted"


def test_an_upload_is_tried_again_once_its_step_has_had_its_turn(live: ApiClient, tus: Tus, target: Any) -> None:
    lanes.use(lambda lane: None)
    said = tus.create(4, target, operationId="op")
    live.delete(f"uploads/{said.upload_id}/")
    early = live.post(f"uploads/{said.upload_id}/retry/", {"operationId": "early"})
    lanes.use(tasks.run_lane)
    tasks.run_lane(Upload.objects.get().lane)
    again = live.post(f"uploads/{said.upload_id}/retry/", {"operationId": "again"})
    tus.patch(said.url, 0, b"film")

    assert (early.status, again.status) == (409, 202)
    assert [live.get(f"operations/{key}/").data["status"] for key in ("op", "again")] == ["failed", "succeeded"]


def test_a_retry_of_the_operation_leaves_out_what_was_tried_again_by_itself(
    live: ApiClient, tus: Tus, target: Any
) -> None:
    said = [tus.create(4, target, operationId="op", expect=2, stepId=str(number)) for number in range(2)]
    for one in said:
        live.delete(f"uploads/{one.upload_id}/")
    assert live.post(f"uploads/{said[0].upload_id}/retry/", {"operationId": "alone"}).status == 202
    assert live.post("operations/op/retry/", {"operationId": "rest"}).status == 202

    (step,) = live.get("operations/rest/").data["steps"]
    assert (step["stepId"], step["data"]["uploadId"]) == ("1", said[1].upload_id)
    for one in said:
        tus.patch(one.url, 0, b"film")
    for key in ("alone", "rest"):
        assert live.get(f"operations/{key}/").data["status"] == "succeeded"
    assert live.post("operations/op/retry/").status == 409


@pytest.mark.parametrize("kind", ["video", "media"])
def test_cancelling_its_operation_aborts_an_upload_that_has_not_begun(
    live: ApiClient, tus: Tus, target: Any, kind: str
) -> None:
    lanes.use(lambda lane: None)
    said = tus.create(4, target if kind == "video" else {"kind": "media"}, operationId="op")
    assert live.post("operations/op/cancel/").status == 202

    upload = live.get(f"uploads/{said.upload_id}/").data
    assert (upload["status"], upload["error"]["code"]) == ("aborted", "cancelled")
    assert (tus.head(said.url).status, tus.patch(said.url, 0, b"film").status) == (410, 410)
    assert live.get("operations/op/").data["steps"][0]["error"]["code"] == "cancelled"
    lanes.use(tasks.run_lane)
    assert live.post("operations/op/retry/", {"operationId": "again"}).status == 202
    tus.patch(said.url, 0, b"film")
    assert live.get("operations/again/").data["status"] == "succeeded"


def test_many_workers_complete_it_once(api: ApiClient, live: ApiClient, tus: Tus, target: Any, course: str) -> None:
    hints.use(lambda upload_id: None)
    tus.create(4, target, body=b"film")
    id_ = Upload.objects.get().pk
    together(*[lambda: completion.complete(id_)] * 4)
    completion.complete(id_)

    assert _types(course).count("upload-complete") == 1 and StoredFile.objects.count() == 1


def test_an_upload_that_another_worker_is_just_beginning_does_not_fail(
    live: ApiClient, tus: Tus, target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes.use(lambda lane: None)
    hints.use(lambda upload_id: None)
    tus.create(4, target, body=b"film", operationId="op")
    upload = Upload.objects.get()
    look, run = completion.selectors.is_pending, completion.runner.run_lane

    def is_pending(asked: Upload) -> bool:
        run(upload.lane)
        return look(asked)

    monkeypatch.setattr(completion.runner, "run_lane", lambda lane: None)
    monkeypatch.setattr(completion.selectors, "is_pending", is_pending)
    completion.complete(upload.pk)

    assert live.get("operations/op/").data["status"] == "succeeded"


def test_an_abandoned_upload_expires_with_its_step_and_operation(
    live: ApiClient, tus: Tus, target: Any, course: str
) -> None:
    said = tus.create(20 * MIB, target, operationId="op")
    tus.patch(said.url, 0, content(9 * MIB))
    upload = Upload.objects.get()
    chores.expire()
    assert Upload.objects.get().status == UploadStatus.UPLOADING
    Upload.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    chores.expire()

    assert live.get("operations/op/").data["steps"][0]["error"]["code"] == "expired"
    kinds = [(purge.key, bool(purge.storage_upload_id)) for purge in Purge.objects.all()]
    assert {(upload.key, True), (upload.key, False), (upload.tail_key, False)} == set(kinds)
    assert _types(course)[-1] == "operation-failed"
    assert tus.patch(said.url, 9 * MIB, b"more").status == 410


def test_an_operation_waits_as_long_as_its_upload(tus: Tus, target: Any) -> None:
    tus.create(4, target, operationId="op", expect=2)
    Operation.objects.filter(key="op").update(last_request_at=clock.now() - timedelta(days=1))
    operations.end_incomplete()
    assert Operation.objects.get(key="op").finished_at is None


def test_cancelling_the_operation_aborts_the_upload(live: ApiClient, tus: Tus, target: Any, course: str) -> None:
    said = tus.create(4, target, operationId="op")
    live.post("operations/op/cancel/")

    assert live.get("operations/op/").data["status"] == "cancelled"
    assert Upload.objects.get().status == UploadStatus.ABORTED
    assert tus.patch(said.url, 0, b"film").status == 410
    assert events_of(course)[-1]["data"]["error"]["code"] == "cancelled"


def test_an_upload_that_is_aborted_before_its_turn_makes_no_video(
    api: ApiClient, tus: Tus, course: str, chapter: str
) -> None:
    from apps.operations import hints, runner

    hints.use(lambda lane: None)
    said = tus.create(4, {"kind": "video", "chapterId": chapter}, operationId="op")
    assert tus.request("DELETE", said.url).status == 204
    runner.run_lane(f"course:{course}")

    assert api.get("operations/op/").data["steps"][0]["error"]["code"] == "gone"
    assert api.outline(course)["chapters"][0]["videos"] == []


def _meanwhile(store: MemoryStore, verb: str, do: Callable[[], object]) -> None:
    """Do something before the answer of the next call of a verb."""
    call = getattr(store, verb)

    def interrupted(*arguments: Any, **more: Any) -> Any:
        setattr(store, verb, call)
        answer = call(*arguments, **more)
        do()
        return answer

    setattr(store, verb, interrupted)


def _joined(tus: Tus, target: Any, parts: list[str]) -> Upload:
    said = tus.request(
        "POST", TUS, upload_concat="final;" + " ".join(parts), upload_metadata=metadata({"target": json.dumps(target)})
    )
    return Upload.objects.get(pk=said.upload_id)


@pytest.mark.parametrize("verb", ["create_multipart", "upload_part"])
def test_an_upload_that_is_aborted_while_its_parts_are_joined_leaves_them_and_nothing_else(
    live: ApiClient, tus: Tus, target: Any, store: MemoryStore, verb: str
) -> None:
    sent = {"upload_length": "4", "upload_concat": "partial", "content_type": "application/offset+octet-stream"}
    parts = [tus.request("POST", TUS, body, **sent).url for body in (b"film", b"fans")]
    hints.use(lambda upload_id: None)
    upload = _joined(tus, target, parts)
    _meanwhile(store, verb, lambda: live.delete(f"uploads/{upload.pk}/"))
    completion.complete(upload.pk)
    purges.work()

    upload.refresh_from_db()
    assert (upload.status, upload.storage_upload_id, upload.parts.count()) == (UploadStatus.ABORTED, "", 0)
    assert upload.key not in {one.key for one in store.list_multiparts("")} | store.objects.keys()
    again = _joined(tus, target, parts)
    completion.complete(again.pk)
    assert store.objects[StoredFile.objects.get().key].body == b"filmfans"


def test_an_object_that_appears_after_its_upload_has_ended_goes(
    live: ApiClient, tus: Tus, target: Any, store: MemoryStore, looker: Looker
) -> None:
    def abort_before_it_is_there() -> None:
        key, made = Upload.objects.get().key, dict(store.objects)
        live.delete(f"uploads/{Upload.objects.get().pk}/")
        purges.work()
        assert key not in store.objects
        store.objects |= made

    looker.meanwhile = abort_before_it_is_there
    tus.create(4, target, body=b"film")
    purges.work()
    assert not store.objects


def test_a_tail_whose_answer_was_lost_goes(tus: Tus, target: Any, store: MemoryStore) -> None:
    def lose() -> None:
        raise storage.StorageAway

    url = tus.create(4, target).url
    _meanwhile(store, "put", lose)
    assert tus.patch(url, 0, b"fi").status == 503
    assert [".tail-" in key for key in store.objects] == [True]

    purges.work()
    assert not store.objects
    assert tus.patch(url, tus.head(url).offset, b"film").offset == 4


# Progress


def test_progress_only_grows_and_ends_before_the_completion(tus: Tus, target: Any, bridge: MemoryBridge) -> None:
    body = content(20 * MIB)
    url = tus.create(len(body), target).url
    tus.patch(url, 0, body[: 9 * MIB])
    tus.patch(url, 9 * MIB, body[9 * MIB :])
    figures = [event["data"] for event in bridge.progress]

    counts = [figure["bytes"] for figure in figures]
    assert counts == sorted(counts) and counts[-1] == len(body)
    assert [figure["status"] for figure in figures][-2:] == ["uploading", "processing"]
    assert figures[-1]["progress"] == 100 and figures[0]["total"] == len(body)
    assert {event["operationId"] for event in bridge.progress} == {Upload.objects.get().operation_key}


def test_an_upload_does_not_notice_a_bridge_that_is_away(tus: Tus, target: Any, bridge: MemoryBridge) -> None:
    bridge.away = True
    assert tus.create(4, target, body=b"film").offset == 4
    assert Upload.objects.get().status == UploadStatus.COMPLETE
