"""What `reconcile_storage` finds, what it mends, and what it leaves alone."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.core import clock
from apps.uploads import chores, purges, reconciling, storage
from apps.uploads.models import Purge, StoredFile, Upload, UploadStatus
from apps.uploads.storage import OpenMultipart
from tests.support.api import ApiClient, events_of
from tests.support.memory_store import MemoryStore
from tests.support.threads import together
from tests.support.uploading import MIB, Tus, content

AGE = timedelta(hours=2)


class AgedStore(MemoryStore):
    """A storage in which everything seems to be two hours old; of multipart uploads only ``old_multiparts``, if set."""

    def __init__(self) -> None:
        super().__init__(now=lambda: clock.now() - AGE)
        self.old_multiparts: set[str] | None = None

    def list_multiparts(self, prefix: str) -> Iterator[OpenMultipart]:
        for one in super().list_multiparts(prefix):
            is_old = self.old_multiparts is None or one.upload_id in self.old_multiparts
            yield one if is_old else replace(one, initiated_at=clock.now())


@pytest.fixture(autouse=True)
def store() -> Iterator[AgedStore]:
    store = AgedStore()
    storage.use(store)
    yield store
    storage.use(None)


@pytest.fixture
def target(chapter: str) -> dict[str, str]:
    return {"kind": "video", "chapterId": chapter}


def _found(grace: timedelta = timedelta(hours=1)) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in reconciling.differences(grace)]


def _reconcile(*arguments: str) -> int:
    """Run the command; gives its exit code."""
    try:
        call_command("reconcile_storage", *arguments)
    except CommandError as error:
        return error.returncode
    return 0


def test_uploads_at_every_stage_and_their_files_are_known(
    tus: Tus, target: Any, store: MemoryStore, live: ApiClient
) -> None:
    tus.create(4, target, body=b"film")
    said = tus.create(20 * MIB, target)
    tus.patch(said.url, 0, content(9 * MIB))
    partial = tus.create(20 * MIB, None, Upload_Concat="partial")
    tus.patch(partial.url, 0, content(9 * MIB))
    gone = tus.create(4, target, body=b"film")
    live.delete(f"videos/{gone.headers['CourseHub-Video-Id']}/")

    assert {key.split("/")[0] for key in store.objects} == {"courses", "partial"}
    assert any(".tail-" in key for key in store.objects) and len(store.uploads) == 2
    assert _found() == []
    assert _reconcile() == 0


def test_objects_that_nothing_refers_to_are_purged_when_asked(store: MemoryStore, db: None) -> None:
    keys = ["checks/left", "courses/1/a", "courses/1/a.tail-3", "media/2/b", "partial/2/c"]
    for key in [*keys, "somebody-elses"]:
        store.put(key, b"x")

    assert _found() == [("object without a row", key) for key in keys]
    assert _reconcile() == 1
    assert not Purge.objects.exists() and len(store.objects) == 6

    assert _reconcile("--mend") == 0
    assert _found() == [], "they are about to be deleted"
    purges.work()
    assert store.objects.keys() == {"somebody-elses"}


def test_what_is_younger_than_the_grace_time_is_left_alone(store: MemoryStore, db: None) -> None:
    store.put("courses/1/a", b"x")
    store.create_multipart("courses/1/b", "video/mp4")
    assert len(_found()) == 2
    assert _found(timedelta(hours=3)) == []


@pytest.mark.parametrize("minutes", ["nan", "inf", "1e300", "1e9", "-5", "soon"])
def test_a_grace_time_that_is_none_is_refused(minutes: str, db: None) -> None:
    with pytest.raises(CommandError, match="--grace-minutes"):
        call_command("reconcile_storage", f"--grace-minutes={minutes}")


def test_more_than_a_page_is_gone_through(store: MemoryStore, tus: Tus, target: Any) -> None:
    for number in range(reconciling._AT_ONCE + 7):
        store.put(f"courses/1/{number:04}", b"x")
    tus.create(4, target, body=b"film")
    assert len(_found()) == reconciling._AT_ONCE + 7


def test_a_multipart_upload_that_nobody_knows_is_aborted(store: MemoryStore, tus: Tus, target: Any) -> None:
    url = tus.create(20 * MIB, target).url
    tus.patch(url, 0, content(9 * MIB))
    mine = Upload.objects.get().storage_upload_id
    left = store.create_multipart("media/2/b", "video/mp4")
    beside = store.create_multipart(Upload.objects.get().key, "video/mp4")

    kinds = {kind for kind, _ in _found()}
    assert kinds == {"unknown multipart upload"} and len(_found()) == 2
    assert _reconcile("--mend") == 0
    purges.work()
    assert store.uploads.keys() == {mine} and {left, beside}.isdisjoint(store.uploads)
    assert tus.patch(url, 9 * MIB, content(20 * MIB)[9 * MIB :]).status == 204


def test_a_multipart_upload_of_an_aborted_upload_is_aborted_too(store: MemoryStore, tus: Tus, target: Any) -> None:
    tus.create(20 * MIB, target)
    upload = Upload.objects.get()
    upload.storage_upload_id = store.create_multipart(upload.key, "video/mp4")
    upload.status = UploadStatus.ABORTED
    upload.save()
    assert _found() == [("unknown multipart upload", upload.key)]


def test_a_file_whose_object_is_missing_is_marked_and_not_served_until_it_is_back(
    store: MemoryStore, tus: Tus, target: Any, live: ApiClient, capsys: pytest.CaptureFixture[str]
) -> None:
    video = tus.create(4, target, body=b"film").headers["CourseHub-Video-Id"]
    file = StoredFile.objects.get()
    lost = store.objects.pop(file.key)

    assert _reconcile() == 1
    assert StoredFile.objects.get().missing_since is None, "nothing is changed unless asked"
    assert _reconcile("--mend") == 1, "nobody can mend this but an operator"
    since = StoredFile.objects.get().missing_since
    assert since is not None and file.key in capsys.readouterr().out
    answer = live.get(f"videos/{video}/playback/")
    assert (answer.status, answer.error["code"]) == (410, "gone")
    _reconcile("--mend")
    assert StoredFile.objects.get().missing_since == since

    store.objects[file.key] = lost
    assert _found() == [("object that is back", file.key)]
    assert _reconcile("--mend") == 0
    assert live.get(f"videos/{video}/playback/").status == 200


@pytest.mark.parametrize("loses", ["parts", "tail"])
def test_an_upload_whose_bytes_storage_has_lost_ends(
    store: MemoryStore, tus: Tus, target: Any, live: ApiClient, course: str, loses: str
) -> None:
    url = tus.create(20 * MIB, target, operationId="op").url
    tus.patch(url, 0, content(9 * MIB))
    Upload.objects.update(created_at=clock.now() - AGE)
    upload = Upload.objects.get()
    if loses == "parts":
        store.uploads.clear()
    else:
        del store.objects[upload.tail_key]

    assert _found() == [("upload without its parts", str(upload.pk))]
    assert _reconcile("--mend") == 0
    assert Upload.objects.get().status == UploadStatus.ERROR
    assert live.get("operations/op/").data["status"] == "failed"
    assert events_of(course)[-1]["type"] == "operation-failed"


def test_purges_that_do_not_come_to_an_end_are_tried_again(store: MemoryStore, db: None) -> None:
    store.put("media/2/b", b"x")
    purges.purge("media/2/b", reason="test")
    assert _found() == [], "it may be under way"
    Purge.objects.update(
        due_at=clock.now() - AGE,
        not_before=clock.now() + AGE,
        attempts=9,
        last_error="StorageRefused: AccessDenied",
    )
    store.fail_next("delete", storage.StorageRefused("AccessDenied"))
    assert _reconcile("--mend") == 1
    assert "media/2/b" in store.objects

    assert _reconcile("--mend") == 0
    assert not store.objects and not Purge.objects.exists()


def test_nothing_is_said_of_a_storage_that_is_away(store: MemoryStore, tus: Tus, target: Any) -> None:
    tus.create(4, target, body=b"film")
    store.away = True
    assert _reconcile("--mend") == 2
    assert StoredFile.objects.get().missing_since is None and not Purge.objects.exists()


def test_a_storage_that_goes_away_in_between_leaves_the_rest_for_the_next_time(store: MemoryStore, db: None) -> None:
    store.put("checks/a", b"x")
    store.put("partial/b", b"x")
    store.fail_next("list_multiparts", storage.StorageAway())
    assert _reconcile("--mend") == 2
    assert [purge.key for purge in Purge.objects.all()] == ["checks/a"]
    assert _reconcile("--mend") == 0
    assert {purge.key for purge in Purge.objects.all()} == {"checks/a", "partial/b"}


@pytest.mark.django_db(transaction=True)
def test_uploads_and_deletions_that_go_on_meanwhile_lose_nothing(
    store: AgedStore, live: ApiClient, tus: Tus, target: Any
) -> None:
    open_one = tus.create(20 * MIB, target).url
    tus.patch(open_one, 0, content(9 * MIB))
    # The others have the grace time: it is all that keeps a multipart upload whose id is not written down yet.
    store.old_multiparts = set(store.uploads)
    over, found = threading.Event(), list[tuple[str, str]]()

    def upload() -> None:
        for number in range(6):
            said = tus.create(9 * MIB, target)
            tus.patch(said.url, 0, content(9 * MIB))
            if number % 2:
                live.delete(f"videos/{said.headers['CourseHub-Video-Id']}/")
        over.set()

    def reconcile() -> None:
        while not over.is_set():
            found.extend((one.kind, one.name) for one in reconciling.differences(timedelta(0)) if not one.mend())
            found.extend((purge.reason, purge.key) for purge in Purge.objects.filter(reason="reconciled"))
            purges.work()

    together(upload, reconcile)
    purges.work()
    chores.expire()

    assert found == []
    assert tus.patch(open_one, 9 * MIB, content(20 * MIB)[9 * MIB :]).status == 204
    files = list(StoredFile.objects.all())
    assert len(files) == 4 and all(file.key in store.objects for file in files)
    assert not store.uploads and _found() == []
