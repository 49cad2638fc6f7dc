"""Uploads into a library: new files, new versions, and what fails."""

from apps.accounts.models import User
from apps.media.models import Media
from apps.uploads.models import StoredFile
from tests.support.api import ApiClient, events_of
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

    tus.create(3, {"kind": "media", "mediaId": media}, body=b"new", filename="new.mp4")
    data = live.get(f"media/{media}/").data
    assert (data["name"], data["currentVersion"], data["size"], len(data["versions"])) == ("intro.mp4", 2, 3, 2)
    actions = [entry["action"] for entry in live.get(f"media/{media}/history/").data]
    assert actions == ["media.version", "media.version", "media.upload"]


def test_what_comes_for_a_file_that_was_purged_is_discarded(live: ApiClient, tus: Tus, owner: User) -> None:
    upload = tus.create(6, {"kind": "media"})
    media = Media.objects.get().pk
    live.delete(f"media/{media}/")
    live.post(f"media/{media}/purge/")
    assert tus.patch(upload.url, 0, b"abcdef").offset == 6

    assert events_of(f"user:{owner.pk}")[-1]["type"] == "operation-failed"
    assert not StoredFile.objects.exists() and not Media.objects.exists()
