"""What is forgotten of uploads, and when."""

from datetime import timedelta

import pytest
from django.db.models import F

from apps.core import clock
from apps.media.models import Media
from apps.operations import services as operations
from apps.operations.models import Operation
from apps.uploads import chores, completion
from apps.uploads.models import Part, Upload, UploadStatus
from tests.support.api import ApiClient
from tests.support.uploading import TUS, Looker, Tus, metadata


def _purge_all(live: ApiClient) -> None:
    for media in Media.objects.all():
        live.delete(f"media/{media.pk}/")
        live.post(f"media/{media.pk}/purge/")


def _days_pass(days: int) -> None:
    """Make all operations and uploads older, and have the relay look."""
    Operation.objects.update(finished_at=F("finished_at") - timedelta(days=days))
    for upload in Upload.objects.all():
        for name in ("created_at", "expires_at", "finished_at"):
            if at := getattr(upload, name):
                setattr(upload, name, at - timedelta(days=days))
        upload.save()
    operations.forget_old()
    chores.forget_old()


def test_a_complete_upload_keeps_no_parts(live: ApiClient, tus: Tus) -> None:
    tus.create(6, {"kind": "media"}, body=b"abcdef")

    assert (Upload.objects.get().status, Part.objects.count()) == (UploadStatus.COMPLETE, 0)


def test_a_complete_upload_is_forgotten_once_its_file_is_gone(live: ApiClient, tus: Tus) -> None:
    tus.create(6, {"kind": "media"}, body=b"abcdef")
    _purge_all(live)
    _days_pass(29)
    assert Upload.objects.exists()
    _days_pass(2)
    assert not Upload.objects.exists()


def test_while_its_file_is_there_it_counts(live: ApiClient, tus: Tus) -> None:
    tus.create(6, {"kind": "media"}, body=b"abcdef")
    _days_pass(90)
    assert Upload.objects.exists()


@pytest.mark.parametrize("protocol", ["tus", "s3"])
def test_while_its_operation_is_there_its_creation_is_answered_again(live: ApiClient, tus: Tus, protocol: str) -> None:
    target = {"kind": "media"}
    named = {"operationId": "op", "expect": 2, "stepId": "film"}

    def create() -> str:
        if protocol == "tus":
            return tus.create(6, target, **named).upload_id
        return str(
            live.post("uploads/s3/multipart", {"filename": "film.mp4", "target": target, **named}).data["uploadId"]
        )

    id_ = create()
    live.delete(f"uploads/{id_}/")
    _days_pass(31)
    assert create() == id_

    operations.cancel(Operation.objects.get(key="op").pk)
    _days_pass(31)
    assert not Upload.objects.exists()


def test_partial_uploads_are_forgotten_like_others(live: ApiClient, tus: Tus) -> None:
    part = tus.create(4, None, body=b"film", **{"Upload-Concat": "partial"})
    given = metadata({"filename": "film.mp4", "target": '{"kind": "media"}'})
    tus.request("POST", TUS, upload_concat=f"final;{part.url}", upload_metadata=given)
    assert set(Upload.objects.values_list("status", flat=True)) == {UploadStatus.COMPLETE}
    _purge_all(live)
    _days_pass(31)

    assert not Upload.objects.exists()


def test_what_failed_is_kept_with_its_bytes_until_they_are_thrown_away(
    live: ApiClient, tus: Tus, looker: Looker
) -> None:
    looker.failures = [ZeroDivisionError() for _ in range(completion.TRIES_MAX)]
    tus.create(6, {"kind": "media"}, body=b"abcdef")
    for _ in range(completion.TRIES_MAX):
        Upload.objects.update(lease_token=None, retry_at=None, created_at=clock.now() - timedelta(hours=1))
        chores.complete_left()
    _days_pass(31)
    assert Upload.objects.get().status == UploadStatus.ERROR
    chores.expire()
    chores.forget_old()
    assert not Upload.objects.exists()


def test_it_goes_on_until_all_that_is_old_is_gone(live: ApiClient, tus: Tus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chores, "_AT_ONCE", 2)
    for _ in range(5):
        tus.request("DELETE", tus.create(6, {"kind": "media"}).url)
    _days_pass(31)

    assert not Upload.objects.exists()
