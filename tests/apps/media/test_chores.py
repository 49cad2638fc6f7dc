"""What happens by itself, what becomes of uploads that fail, every filter of the history, and the admin."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from apps.accounts.models import User
from apps.core import clock
from apps.media import chores
from apps.media.models import HistoryEntry, Media
from apps.operations import runner
from apps.uploads.models import Purge, StoredFile
from tests.support.api import ApiClient, events_of
from tests.support.library import a_file, add_version, stored
from tests.support.threads import Running
from tests.support.uploading import Tus


def test_what_was_in_the_trash_for_long_enough_is_purged_with_all_its_versions(live: ApiClient, owner: User) -> None:
    old, young, kept = a_file(owner), a_file(owner), a_file(owner)
    add_version(old, stored())
    for media in (old, young):
        live.delete(f"media/{media}/")
    Media.objects.filter(pk=old).update(purge_at=clock.now() - timedelta(seconds=1))
    keys = set(StoredFile.objects.filter(pk__in=Media.objects.get(pk=old).versions.values("file")).values_list("key"))
    chores.purge_old()

    assert {str(id_) for id_ in Media.objects.values_list("pk", flat=True)} == {young, kept}
    assert len(keys) == 2 and keys <= set(Purge.objects.values_list("key"))
    told = events_of(f"user:{owner.pk}")[-1]
    assert (told["type"], told["data"]) == ("media-purge-complete", {"mediaId": old})
    (entry,) = live.get(f"media/{old}/history/?action=media.purge").data
    assert (entry["actorId"], entry["operationId"], entry["details"]) == (None, None, {"because": "retention"})
    chores.purge_old()
    assert HistoryEntry.objects.filter(action="media.purge").count() == 1


def test_a_file_that_someone_is_at_holds_up_nobody_elses_purge(live: ApiClient, owner: User) -> None:
    busy, idle = a_file(owner), a_file(owner)
    for media in (busy, idle):
        live.delete(f"media/{media}/")
    Media.objects.update(purge_at=clock.now() - timedelta(seconds=1))
    with transaction.atomic():
        Media.objects.select_for_update().get(pk=busy)
        Running(chores.purge_old).result()
    assert str(Media.objects.get().pk) == busy

    chores.purge_old()
    assert not Media.objects.exists()


def test_a_new_file_that_fails_says_so_and_may_be_tried_again(live: ApiClient, tus: Tus, owner: User) -> None:
    upload = tus.create(6, {"kind": "media"}, body=b"bad!!!", operationId="up")
    failed = live.get("operations/up/").data
    media = failed["steps"][0]["data"]["mediaId"] if failed["steps"][0]["data"] else str(Media.objects.get().pk)

    assert failed["status"] == "failed"
    assert live.get(f"media/{media}/").data["status"] == "error"
    again = live.post(f"uploads/{upload.upload_id}/retry/")
    assert again.status == 202
    assert live.get(f"media/{media}/").data["status"] in ("uploading", "error")
    assert Media.objects.count() == 1, "the same file, not a second one"


def test_a_new_version_that_fails_or_is_cancelled_leaves_the_old_one(live: ApiClient, tus: Tus, owner: User) -> None:
    media = a_file(owner)
    tus.create(6, {"kind": "media", "mediaId": media}, body=b"bad!!!", operationId="bad")
    assert live.get("operations/bad/").data["status"] == "failed"
    data = live.get(f"media/{media}/").data
    assert (data["status"], data["currentVersion"], len(data["versions"])) == ("complete", 1, 1)

    tus.create(6, {"kind": "media", "mediaId": media}, operationId="cancelled")
    assert live.get(f"media/{media}/").data["status"] == "uploading"
    assert live.post("operations/cancelled/cancel/").status < 300
    assert live.get(f"media/{media}/").data["status"] == "complete"


def test_history_is_filtered_by_everything_that_it_says(live: ApiClient, owner: User, stranger: User) -> None:
    media, other = a_file(owner), a_file(owner)
    live.patch(f"media/{media}/", {"name": "one", "operationId": "first"})
    live.patch(f"media/{other}/", {"name": "two", "operationId": "second"})
    live.delete(f"media/{other}/", {"operationId": "third"})

    def found(query: str, path: str = "media/history/") -> list[tuple[str, str]]:
        return [(entry["action"], entry["operationId"]) for entry in live.get(f"{path}?{query}").data]

    assert found("") == [("media.delete", "third"), ("media.update", "second"), ("media.update", "first")]
    assert found("action=media.delete") == found("operation=third") == [("media.delete", "third")]
    assert found(f"mediaId={media}") == found("", f"media/{media}/history/") == [("media.update", "first")]
    assert len(found(f"actorId={owner.pk}")) == 3 and found(f"actorId={stranger.pk}") == []
    moments = list(HistoryEntry.objects.order_by("id").values_list("created_at", flat=True))
    written = [moment.isoformat().replace("+00:00", "Z") for moment in moments]
    assert found(f"after={written[0]}") == found("")[:2]
    assert found(f"before={written[2]}") == found("")[1:]
    assert found(f"after={written[0]}&before={written[2]}&action=media.update") == [("media.update", "second")]
    assert found("after=0001-01-01T00:00:00Z&before=9999-12-31T23:59:59Z") == found("")
    assert ApiClient(stranger).get("media/history/").data == []
    assert ApiClient(stranger).get(f"media/{media}/history/").status == 404


def test_a_target_that_goes_in_the_middle_of_a_restoration_is_reported(api: ApiClient, owner: User) -> None:
    course, media = api.course(), a_file(owner)
    runner.run_lane(f"course:{course}")
    chapter = api.chapter(course)
    runner.run_lane(f"course:{course}")
    link = api.post(f"media/{media}/links/", {"targetType": "chapter", "targetId": chapter}).data["linkId"]
    api.delete(f"media/{media}/?force=true")
    restored = api.post(f"media/{media}/restore/", {"restoreLinks": [link]})
    assert restored.status == 202, "the steps ahead of it may yet make it right"
    runner.run_lane(f"user:{owner.pk}")
    assert api.operation(restored)["steps"][0]["data"]["links"][0]["result"] == "restored"

    api.delete(f"media/{media}/?force=true")
    restored = api.post(f"media/{media}/restore/", {"restoreLinks": "all"})
    api.delete(f"chapters/{chapter}/")
    runner.run_lane(f"course:{course}")
    runner.run_lane(f"user:{owner.pk}")
    report = api.operation(restored)["steps"][0]["data"]["links"]
    assert [each["result"] for each in report] in ([], ["target_gone"])
    assert Media.objects.get(pk=media).link_count == 0


@pytest.mark.parametrize("path", ["media/media/", "media/medialink/", "media/historyentry/"])
def test_the_admin_shows_and_changes_nothing(live: ApiClient, owner: User, path: str) -> None:
    media = a_file(owner, "shown.mp4")
    live.post(f"media/{media}/links/", {"targetType": "course", "targetId": live.course()})
    browser = Client()
    browser.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    page: Any = browser.get(f"/admin/{path}")

    assert page.status_code == 200
    assert media in page.content.decode()
    assert browser.get(f"/admin/{path}add/").status_code == 403
