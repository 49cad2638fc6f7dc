"""Uploads into a library: new files, new versions, and what fails."""

import pytest

from apps.accounts.models import User
from apps.media.models import Media
from apps.operations import hints, runner
from apps.uploads.models import StoredFile
from tests.support.api import ApiClient, events_of
from tests.support.library import a_file
from tests.support.uploading import Tus


def test_a_file_comes_into_the_library_and_a_new_version_of_it(live: ApiClient, tus: Tus, owner: User) -> None:
    body = b"a" * 1000
    tus.create(len(body), {"kind": "media", "tempId": "t1"}, body=body, filename="intro.mp4")

    told = events_of(f"user:{owner.pk}")
    assert [event["type"] for event in told] == ["media-create-complete", "media-upload-complete"]
    media = told[0]["data"]["mediaId"]
    assert told[0]["data"]["tempId"] == "t1" and told[1]["data"]["mediaId"] == media
    data = live.get(f"media/{media}/").data
    assert (data["name"], data["status"], data["currentVersion"], data["size"]) == ("intro.mp4", "complete", 1, 1000)
    assert live.get("media/").body["totals"][data["category"]]["count"] == 1
    step = live.get(f"operations/{told[1]['operationId']}/").data["steps"][0]
    assert step["data"]["finalData"] == data["versions"][0]["file"]

    tus.create(3, {"kind": "media", "mediaId": media}, body=b"new", filename="new.mp4")
    data = live.get(f"media/{media}/").data
    assert (data["name"], data["currentVersion"], data["size"], len(data["versions"])) == ("intro.mp4", 2, 3, 2)
    begun, told = (event["data"] for event in events_of(f"user:{owner.pk}")[-2:])
    assert begun["updates"] == {"status": "uploading"} and begun["uploadId"] == told["uploadId"]
    assert (told["currentVersion"], told["version"]) == (2, data["version"])
    assert told["category"] == data["category"]
    actions = [entry["action"] for entry in live.get(f"media/{media}/history/").data]
    assert actions == ["media.version", "media.version", "media.upload"]


@pytest.mark.parametrize("of", ["a new file", "a new version"])
def test_what_comes_for_a_file_in_the_trash_is_not_wanted_any_more(
    live: ApiClient, tus: Tus, owner: User, of: str
) -> None:
    media = a_file(owner) if of == "a new version" else None
    upload = tus.create(6, {"kind": "media", "mediaId": media} if media else {"kind": "media"}, operationId="op")
    media = str(Media.objects.get().pk)
    files = StoredFile.objects.count()
    live.delete(f"media/{media}/")

    assert live.get("operations/op/").data["steps"][0]["error"]["code"] == "gone"
    assert "operation-failed" in [event["type"] for event in events_of(f"user:{owner.pk}")[-2:]]
    assert tus.patch(upload.url, 0, b"abcdef").status == 410
    live.post(f"media/{media}/restore/")
    status = "complete" if of == "a new version" else "error"
    assert (live.get(f"media/{media}/").data["status"], StoredFile.objects.count()) == (status, files)


@pytest.mark.parametrize("of", ["a new file", "a new version"])
def test_an_upload_that_begins_together_with_its_files_deletion_ends_its_operation(
    live: ApiClient, tus: Tus, owner: User, of: str
) -> None:
    media = a_file(owner) if of == "a new version" else None
    hints.use(lambda lane: None)
    upload = tus.create(6, {"kind": "media", "mediaId": media} if media else {"kind": "media"}, operationId="op")
    live.delete(f"media/{upload.headers['CourseHub-Media-Id']}/")
    runner.run_lane(f"user:{owner.pk}")

    operation = live.get("operations/op/").data
    assert (operation["status"], operation["steps"][0]["error"]["code"]) == ("failed", "gone")
    assert tus.patch(upload.url, 0, b"abcdef").status == 410


@pytest.mark.parametrize("way", ["the upload", "its operation"])
def test_a_new_file_that_failed_comes_when_it_is_tried_again(live: ApiClient, tus: Tus, owner: User, way: str) -> None:
    upload = tus.create(6, {"kind": "media", "tempId": "t"}, operationId="op")
    media = str(Media.objects.get().pk)
    tus.request("DELETE", upload.url)
    assert live.get(f"media/{media}/").data["status"] == "error"
    answer = live.post(f"uploads/{upload.upload_id}/retry/" if way == "the upload" else "operations/op/retry/")
    assert answer.status == 202
    tus.patch(upload.url, 0, b"abcdef")

    data = live.get(f"media/{media}/").data
    assert (data["status"], data["size"], data["currentVersion"]) == ("complete", 6, 1)
    assert live.operation(answer)["status"] == "succeeded"


def test_a_file_is_being_uploaded_while_another_upload_into_it_goes_on(live: ApiClient, tus: Tus, owner: User) -> None:
    media = a_file(owner)
    one, other = (tus.create(6, {"kind": "media", "mediaId": media}) for _ in range(2))
    tus.request("DELETE", one.url)
    assert live.get(f"media/{media}/").data["status"] == "uploading"
    tus.request("DELETE", other.url)
    assert live.get(f"media/{media}/").data["status"] == "complete"


def test_what_is_purged_leaves_nothing(live: ApiClient, tus: Tus, owner: User) -> None:
    tus.create(6, {"kind": "media"}, body=b"abcdef")
    media = Media.objects.get().pk
    live.delete(f"media/{media}/")
    live.post(f"media/{media}/purge/")

    assert not StoredFile.objects.exists() and not Media.objects.exists()


def test_a_file_whose_upload_failed_is_found_gone_by_a_second_purge(
    live: ApiClient, tus: Tus, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tus.create(6, {"kind": "media"})
    media = said.headers["CourseHub-Media-Id"]
    tus.request("DELETE", said.url)
    live.delete(f"media/{media}/")
    hints.use(lambda lane: None)
    monkeypatch.setattr(runner, "STEPS_AT_ONCE", 1)
    purges = [live.post(f"media/{media}/purge/") for _ in range(2)]
    runner.run_lane(f"user:{owner.pk}")

    assert [live.operation(answer)["status"] for answer in purges] == ["succeeded", "succeeded"]
    assert live.operation(purges[1])["steps"][0]["data"]["alreadyGone"] is True


@pytest.mark.parametrize("way", ["the upload", "its operation"])
def test_a_file_that_was_purged_does_not_return_when_its_upload_is_tried_again(
    live: ApiClient, tus: Tus, way: str
) -> None:
    said = tus.create(3, {"kind": "media"}, body=b"bad", operationId="op")
    media = said.headers["CourseHub-Media-Id"]
    live.delete(f"media/{media}/")
    live.post(f"media/{media}/purge/")
    again = live.post(f"uploads/{said.upload_id}/retry/" if way == "the upload" else "operations/op/retry/")

    assert (again.status, again.error["code"]) == (409, "conflict")
    assert not Media.objects.exists() and live.get(f"media/{media}/").status == 404


def test_a_file_that_is_purged_just_before_its_upload_begins_again_does_not_return(
    live: ApiClient, tus: Tus, owner: User
) -> None:
    said = tus.create(6, {"kind": "media"}, operationId="op")
    media = said.headers["CourseHub-Media-Id"]
    tus.request("DELETE", said.url)
    live.delete(f"media/{media}/")
    hints.use(lambda lane: None)
    live.post(f"media/{media}/purge/")
    again = live.post("operations/op/retry/")
    second = live.post(f"media/{media}/purge/")
    runner.run_lane(f"user:{owner.pk}")

    assert live.operation(again)["steps"][0]["error"]["code"] == "not_found"
    assert live.operation(second)["steps"][0]["data"]["alreadyGone"] is True
    assert not Media.objects.exists()
