"""Files of a library over REST: reading, renaming, deleting, restoring, purging."""

from datetime import UTC, datetime

import pytest

from apps.accounts.models import User
from apps.core import clock
from apps.media.actions import MediaLane
from apps.media.models import HistoryEntry, Media
from apps.operations import runner
from apps.operations.pace import Pace
from apps.uploads.models import Purge, StoredFile, Upload
from tests.support.api import ApiClient, events_of
from tests.support.broadcast_schema import problems
from tests.support.library import a_file, add_version, stored
from tests.support.uploading import Tus


def _last(owner: User) -> dict:
    return events_of(f"user:{owner.pk}")[-1]


def test_a_file_is_read_with_what_it_is_and_where_it_is_used(live: ApiClient, owner: User) -> None:
    course = live.course("Python")
    chapter = live.chapter(course, "Basics")
    video = live.video(chapter, "Loops")
    media = a_file(owner, "loops.mp4")
    for type_, id_ in (("course", course), ("chapter", chapter), ("lesson", video)):
        live.operation(live.post(f"media/{media}/links/", {"targetType": type_, "targetId": id_}))

    data = live.get(f"media/{media}/").data
    assert data | {"name": "loops.mp4", "category": "video", "size": 1000, "linkCount": 3, "used": True} == data
    assert data["file"] | {"duration": 2.5, "width": 640, "height": 360, "codecs": ["h264"]} == data["file"]
    assert [version["number"] for version in data["versions"]] == [1]
    assert [(link["targetType"], link["title"]) for link in data["links"]] == [
        ("course", "Python"), ("chapter", "Basics"), ("video", "Loops"),
    ]  # fmt: skip
    assert [stop["title"] for stop in data["links"][2]["path"]] == ["Python", "Basics", "Loops"]


def test_a_file_is_renamed(live: ApiClient, owner: User) -> None:
    media = a_file(owner)
    answer = live.patch(f"media/{media}/", {"name": "b.mp4"})

    assert answer.data == {"mediaId": media}
    assert _last(owner)["type"] == "media-update-complete"
    assert _last(owner)["data"] == {"mediaId": media, "updates": {"name": "b.mp4"}, "version": 2}
    assert live.get(f"media/{media}/").data["name"] == "b.mp4"
    assert live.patch(f"media/{media}/", {"name": "c", "baseVersion": 1}).error["currentVersion"] == 2


def test_what_changed_before_its_deletion_came_to_its_turn_is_not_deleted(api: ApiClient, owner: User) -> None:
    media = a_file(owner)
    api.patch(f"media/{media}/", {"name": "b.mp4"})
    deleted = api.delete(f"media/{media}/", {"baseVersion": 1})
    runner.run_lane(f"user:{owner.pk}")

    error = api.operation(deleted)["steps"][0]["error"]
    assert (error["code"], error["currentVersion"]) == ("version_conflict", 2)
    assert api.get(f"media/{media}/").data["deletedAt"] is None


def test_a_linked_file_is_not_deleted_and_the_answer_says_what_uses_it(live: ApiClient, owner: User) -> None:
    course = live.course("Python")
    media = a_file(owner)
    link = live.post(f"media/{media}/links/", {"targetType": "course", "targetId": course}).data["linkId"]

    answer = live.delete(f"media/{media}/")
    path = [{"type": "course", "id": course, "title": "Python"}]
    blocker = {"type": "course", "id": course, "title": "Python", "path": path, "linkId": link, "role": "attachment"}
    assert (answer.status, answer.error["code"]) == (409, "in_use")
    assert answer.error["blockers"] == [blocker]
    impact = live.get(f"media/{media}/deletion-impact/").data
    assert (impact["deletable"], impact["linkCount"], impact["blockers"]) == (False, 1, [blocker])


def test_force_removes_the_links_too_and_restoring_puts_back_what_is_asked_for(live: ApiClient, owner: User) -> None:
    course = live.course()
    chapter = live.chapter(course)
    media = a_file(owner)
    first = live.post(f"media/{media}/links/", {"targetType": "course", "targetId": course, "position": 7}).data[
        "linkId"
    ]
    second = live.post(f"media/{media}/links/", {"targetType": "chapter", "targetId": chapter}).data["linkId"]
    before = live.get(f"media/{media}/").data

    deleted = live.operation(live.delete(f"media/{media}/?force=true"))
    assert _last(owner)["data"] | {"mediaId": media, "removedLinks": 2} == _last(owner)["data"]
    assert [e["data"]["linkId"] for e in events_of(course)[-2:]] == [first, second]
    trashed = live.get(f"media/{media}/").data
    assert (trashed["linkCount"], trashed["links"]) == (0, [])
    assert trashed["deletedAt"] and trashed["purgeAt"]
    assert deleted["steps"][0]["data"] == {"mediaId": media, "removedLinks": 2, "purgeAt": trashed["purgeAt"]}
    assert _last(owner)["data"]["purgeAt"] == clock.to_ms(datetime.fromisoformat(trashed["purgeAt"]))
    assert live.patch(f"media/{media}/", {"name": "x"}).status == 410

    operation = live.operation(live.post(f"media/{media}/restore/", {"restoreLinks": "all"}))
    report = operation["steps"][0]["data"]["links"]
    assert {link["linkId"]: link["result"] for link in report} == {first: "restored", second: "restored"}
    after = live.get(f"media/{media}/").data
    assert {**after, "updatedAt": None} == {**before, "updatedAt": None}
    assert [event["type"] for event in events_of(course)[-2:]] == ["media-link-complete"] * 2


@pytest.mark.parametrize(("asked", "back"), [("none", 0), ("all", 2), ("first", 1)])
def test_a_restoration_brings_back_no_links_all_or_those_named(
    live: ApiClient, owner: User, asked: str, back: int
) -> None:
    course, media = live.course(), a_file(owner)
    path = f"media/{media}/links/"
    first = live.post(path, {"targetType": "course", "targetId": course}).data["linkId"]
    live.post(path, {"targetType": "course", "targetId": course, "role": "extra"})
    live.delete(f"media/{media}/?force=true")

    live.operation(live.post(f"media/{media}/restore/", {"restoreLinks": [first] if asked == "first" else asked}))
    assert live.get(f"media/{media}/").data["linkCount"] == back


def test_what_cannot_come_back_is_said_link_by_link(live: ApiClient, owner: User) -> None:
    course = live.course()
    chapter = live.chapter(course)
    kept, doomed = live.video(chapter), live.video(chapter)
    media, other = a_file(owner), a_file(owner)
    links = [
        live.post(f"media/{media}/links/", {"targetType": "video", "targetId": id_, "role": role}).data["linkId"]
        for id_, role in ((kept, "source"), (doomed, "attachment"), (kept, "attachment"))
    ]
    live.delete(f"media/{media}/?force=true")
    live.delete(f"videos/{doomed}/")
    live.post(f"media/{other}/links/", {"targetType": "video", "targetId": kept, "role": "source"})

    operation = live.operation(live.post(f"media/{media}/restore/", {"restoreLinks": "all"}))
    results = {link["linkId"]: link["result"] for link in operation["steps"][0]["data"]["links"]}
    assert results == dict(zip(links, ["conflict", "target_gone", "restored"], strict=True))
    assert _last(owner)["type"] == "media-restore-complete"
    assert {link["linkId"]: link["result"] for link in _last(owner)["data"]["links"]} == results
    assert live.get(f"media/{media}/").data["linkCount"] == 1


def test_a_purge_takes_every_version_and_leaves_the_history(live: ApiClient, owner: User) -> None:
    media = a_file(owner)
    add_version(media, stored())
    assert live.post(f"media/{media}/purge/").error["code"] == "conflict"
    live.delete(f"media/{media}/")
    live.operation(live.post(f"media/{media}/purge/"))

    assert _last(owner)["type"] == "media-purge-complete"
    assert not Media.objects.exists() and not StoredFile.objects.exists()
    assert Purge.objects.count() == 2
    assert live.get(f"media/{media}/").status == 404
    assert live.post(f"media/{media}/restore/").status == 404
    history = live.get(f"media/{media}/history/").body["data"]
    assert [entry["action"] for entry in history] == ["media.purge", "media.delete"]
    assert HistoryEntry.objects.filter(media_id=media).count() == 2


def test_purging_what_is_linked_names_its_blockers(live: ApiClient, owner: User) -> None:
    media = a_file(owner)
    live.post(f"media/{media}/links/", {"targetType": "course", "targetId": live.course()})
    answer = live.post(f"media/{media}/purge/")
    assert (answer.status, answer.error["code"], len(answer.error["blockers"])) == (409, "in_use", 1)


def test_going_back_to_a_version_and_forth_again(live: ApiClient, owner: User) -> None:
    media = a_file(owner, size=10)
    add_version(media, stored(size=20, content_type="image/png", category="image"))

    live.operation(live.post(f"media/{media}/versions/1/restore/"))
    data = live.get(f"media/{media}/").data
    assert (data["currentVersion"], data["size"], data["category"], data["file"]["size"]) == (1, 10, "video", 10)
    assert _last(owner)["data"]["updates"]["currentVersion"] == 1
    assert [(v["number"], v["isCurrent"]) for v in live.get(f"media/{media}/versions/").data] == [(2, False), (1, True)]
    assert live.post(f"media/{media}/versions/3/restore/").status == 404


def test_a_reversion_tells_all_of_the_file_that_it_changes(live: ApiClient, owner: User) -> None:
    media = a_file(owner, size=10)
    add_version(media, stored(size=20, content_type="image/png", category="image"))
    before = live.get(f"media/{media}/").data
    live.operation(live.post(f"media/{media}/versions/1/restore/"))

    told, after = _last(owner), live.get(f"media/{media}/").data
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {*told["data"]["updates"], "version", "versions", "updatedAt"}
    assert _seen(told["data"]["updates"]) == {name: after[name] for name in told["data"]["updates"]}
    assert problems(told["type"], told) == []


def _seen(updates: dict) -> dict:
    """What updates make of a file: in events times are milliseconds."""
    file = updates["file"]
    created_at = datetime.fromtimestamp(file["createdAt"] / 1000, UTC).isoformat(timespec="milliseconds")
    return {**updates, "file": {**file, "createdAt": created_at.replace("+00:00", "Z")}}


def test_a_version_that_does_not_fit_where_the_file_is_used_is_refused(live: ApiClient, owner: User) -> None:
    media = a_file(owner)
    add_version(media, stored(category="image"))
    live.post(f"media/{media}/versions/1/restore/")
    video = live.video(live.chapter(live.course()))
    live.operation(live.post(f"media/{media}/links/", {"targetType": "video", "targetId": video, "role": "source"}))

    operation = live.operation(live.post(f"media/{media}/versions/2/restore/"))
    assert operation["steps"][0]["error"]["code"] == "conflict"


def test_deleting_what_is_gone_meanwhile_succeeds_and_says_so(api: ApiClient, owner: User) -> None:
    media = a_file(owner)
    answers = [api.delete(f"media/{media}/"), api.delete(f"media/{media}/")]
    runner.run_lane(f"user:{owner.pk}")
    data = [api.operation(answer)["steps"][0]["data"] for answer in answers]
    assert ["alreadyGone" in each for each in data] == [False, True]
    assert [event["type"] for event in events_of(f"user:{owner.pk}")] == ["media-delete-complete"] * 2


@pytest.mark.parametrize("at_once", [200, 1])
def test_a_file_that_never_came_to_be_cannot_be_deleted(
    api: ApiClient, owner: User, tus: Tus, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(MediaLane, "pace", Pace(most=at_once))
    tus.request("DELETE", tus.create(5, {"kind": "media"}).url)
    media = Upload.objects.get().target_id
    deleted = api.delete(f"media/{media}/")
    runner.run_lane(f"user:{owner.pk}")

    assert api.operation(deleted)["steps"][0]["error"]["code"] == "dependency_failed"
    assert "media-delete-complete" not in [event["type"] for event in events_of(f"user:{owner.pk}")]


@pytest.mark.parametrize("at_once", [200, 1])
def test_what_is_done_to_a_file_as_soon_as_it_is_created_is_done(
    api: ApiClient, tus: Tus, owner: User, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(MediaLane, "pace", Pace(most=at_once))
    course = api.course()
    runner.run_lane(f"course:{course}")
    media = str(tus.create(4, {"kind": "media", "name": "a"}).headers["CourseHub-Media-Id"])
    api.patch(f"media/{media}/", {"name": "b"})
    api.post(f"media/{media}/links/", {"targetType": "course", "targetId": course})
    api.delete(f"media/{media}/?force=true")
    runner.run_lane(f"user:{owner.pk}")

    row = Media.objects.get(pk=media)
    assert (row.name, row.version, row.trashed, row.link_count) == ("b", 2, True, 0)
    assert row.purge_at and row.last_used_at


def test_a_file_whose_upload_failed_did_come_to_be(
    api: ApiClient, owner: User, tus: Tus, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = f"user:{owner.pk}"
    monkeypatch.setattr(MediaLane, "pace", Pace(most=1))
    url = tus.create(5, {"kind": "media"}).url
    runner.run_lane(lane)
    tus.request("DELETE", url)
    media = Media.objects.get().pk
    answers = [api.delete(f"media/{media}/"), api.post(f"media/{media}/purge/"), api.post(f"media/{media}/purge/")]
    runner.run_lane(lane)

    assert [api.operation(answer)["status"] for answer in answers] == ["succeeded"] * 3
    assert api.operation(answers[2])["steps"][0]["data"]["alreadyGone"]


@pytest.mark.parametrize(
    ("asked", "fields"),
    [("some", ["restoreLinks"]), (5, ["restoreLinks"]), (["x"], ["restoreLinks", "restoreLinks.0"])],
)
def test_what_links_to_restore_is_refused_by_the_name_of_its_field(
    live: ApiClient, owner: User, asked: object, fields: list[str]
) -> None:
    answer = live.post(f"media/{a_file(owner)}/restore/", {"restoreLinks": asked})

    assert (answer.status, sorted(answer.error["fields"])) == (400, fields)
