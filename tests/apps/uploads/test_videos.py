"""A file into a chapter: the video is there at once, the file when it is whole and has been looked at."""

from typing import Any

import pytest
from django.db import transaction

from apps.accounts.models import User
from apps.courses.models import Video
from apps.media.models import Media
from apps.operations import hints as lanes
from apps.operations import runner
from apps.operations.lanes import queue_up
from apps.uploads.inspection.facts import Facts
from apps.uploads.models import Purge, StoredFile, Upload
from tests.support.api import ApiClient, events_of
from tests.support.library import a_file
from tests.support.memory_store import MemoryStore
from tests.support.replay import replay
from tests.support.threads import Running, until_someone_waits_for_a_lock
from tests.support.uploading import MIB, Looker, Tus, content


def _types(course: str) -> list[str]:
    return [event["type"] for event in events_of(course)]


def _upload(tus: Tus, chapter: str, body: bytes = b"film", **more: Any) -> str:
    """Upload a whole file; returns the video's id."""
    said = tus.create(len(body), {"kind": "video", "chapterId": chapter}, body=body, **more)
    assert said.offset == len(body)
    return str(said.headers["CourseHub-Video-Id"])


def test_the_video_is_there_before_its_bytes_and_tells_its_upload(
    live: ApiClient, tus: Tus, course: str, chapter: str
) -> None:
    target = {"kind": "video", "chapterId": chapter, "tempId": "t1", "title": "Roots"}
    said = tus.create(4, target, operationId="op")

    video = live.get(f"videos/{said.headers['CourseHub-Video-Id']}/").data
    assert (video["title"], video["filename"], video["status"], video["file"]) == (
        "Roots",
        "film.mp4",
        "uploading",
        None,
    )
    event = events_of(course)[-1]
    assert (event["type"], event["operationId"]) == ("video-create-complete", "op")
    assert event["data"] == {
        "videoId": video["id"], "tempId": "t1", "uploadId": said.upload_id, "chapterId": chapter, "title": "Roots",
        "filename": "film.mp4", "position": 0, "version": 1,
    }  # fmt: skip
    operation = live.get("operations/op/").data
    assert (operation["status"], operation["steps"][0]["status"]) == ("running", "running")


def test_the_last_byte_leads_to_the_file_its_figures_and_the_end(
    live: ApiClient, tus: Tus, course: str, chapter: str, store: MemoryStore
) -> None:
    body = content(5 * MIB + 17)
    video_id = _upload(tus, chapter, body, operationId="op")

    video = live.get(f"videos/{video_id}/").data
    assert video["status"] == "complete"
    assert video["file"] | {"createdAt": "", "checksum": ""} == {
        "size": len(body), "contentType": "video/mp4", "filename": "film.mp4", "duration": 2.0, "width": 320,
        "height": 180, "codecs": ["h264", "aac"], "format": "mp4", "checksum": "", "createdAt": "",
    }  # fmt: skip
    event = events_of(course)[-1]
    assert event["type"] == "upload-complete" and event["data"]["videoId"] == video_id
    assert event["data"]["finalData"]["size"] == len(body)
    operation = live.get("operations/op/").data
    assert (operation["status"], operation["progress"]) == ("succeeded", 100)
    assert operation["steps"][0]["data"]["finalData"] == video["file"]
    file = StoredFile.objects.get()
    assert file.key.startswith(f"courses/{course}/") and store.objects[file.key].body == body
    assert list(store.objects) == [file.key] and not store.uploads


def test_the_checksum_is_that_of_the_whole_file(live: ApiClient, tus: Tus, chapter: str) -> None:
    import hashlib

    body = content(100_000)
    video_id = _upload(tus, chapter, body)
    assert live.get(f"videos/{video_id}/").data["file"]["checksum"] == hashlib.sha256(body).hexdigest()


def test_the_events_say_enough_to_keep_an_outline(live: ApiClient, tus: Tus, course: str, chapter: str) -> None:
    before = live.outline(course)
    video = _upload(tus, chapter)
    _upload_again(tus, video, b"second")
    _upload_again(tus, video, b"bad")
    _upload(tus, chapter, b"bad", Operation_Id="failing")
    live.delete(f"videos/{_upload(tus, chapter, b'gone')}/")
    after = live.outline(course)

    assert replay(before, events_of(course)) == after
    assert [v["status"] for v in after["chapters"][0]["videos"]] == ["complete", "error"]


def _upload_again(tus: Tus, video: str, body: bytes) -> str:
    return tus.create(len(body), {"kind": "video", "videoId": video}, body=body, filename="new.mp4").upload_id


# What is refused


def test_a_file_that_is_none_fails_its_step_and_is_thrown_away(
    live: ApiClient, tus: Tus, course: str, chapter: str
) -> None:
    said = tus.create(3, {"kind": "video", "chapterId": chapter}, body=b"bad", operationId="op")

    failed = events_of(course)[-1]
    assert failed["type"] == "operation-failed"
    assert failed["data"]["uploadId"] == said.upload_id and failed["data"]["error"]["code"] == "content_not_allowed"
    assert failed["data"]["status"] == "error"
    assert live.get("operations/op/").data["status"] == "failed"
    assert not StoredFile.objects.exists()
    upload = Upload.objects.get()
    assert upload.status == "error" and Purge.objects.filter(key=upload.key).count() == 2


def test_another_kind_of_content_than_the_target_takes_is_refused(
    live: ApiClient, tus: Tus, chapter: str, looker: Looker
) -> None:
    looker.seen = Facts("image/png", "image", "png", width=1, height=1)
    video = _upload(tus, chapter)
    assert live.get(f"videos/{video}/").data["status"] == "error"


def test_a_stranger_and_a_viewer_cannot_upload(live: ApiClient, stranger: Any, course: str, chapter: str) -> None:
    target = {"kind": "video", "chapterId": chapter}
    assert Tus(stranger).create(4, target).status == 404
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "viewer"})
    assert Tus(stranger).create(4, target).status == 403
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "editor"})
    assert Tus(stranger).create(4, target).status == 201
    assert Upload.objects.count() == 1


def test_a_target_that_names_nothing_is_refused_and_leaves_nothing(tus: Tus, chapter: str) -> None:
    for target in (
        {},
        {"kind": "song"},
        {"kind": "video"},
        {"kind": "video", "chapterId": "x"},
        {"kind": "video", "a": 1},
    ):
        assert 400 <= tus.create(4, target).status < 500
    assert not Upload.objects.exists()


# Another file for the same video


def test_a_new_file_replaces_the_old_one_only_when_it_is_whole(
    live: ApiClient, tus: Tus, course: str, chapter: str
) -> None:
    video = _upload(tus, chapter, b"first")
    old = StoredFile.objects.get()
    said = tus.create(6, {"kind": "video", "videoId": video}, filename="new.mp4")
    shown = live.get(f"videos/{video}/").data
    assert (shown["status"], shown["file"]["size"]) == ("uploading", 5)
    assert events_of(course)[-1]["data"]["updates"] == {"status": "uploading"}

    tus.patch(said.url, 0, b"second")
    shown = live.get(f"videos/{video}/").data
    assert (shown["status"], shown["file"]["size"], shown["filename"]) == ("complete", 6, "new.mp4")
    assert Purge.objects.filter(key=old.key).exists() and not StoredFile.objects.filter(pk=old.pk).exists()


def test_should_the_new_one_fail_the_old_one_stays(live: ApiClient, tus: Tus, chapter: str) -> None:
    video = _upload(tus, chapter, b"first")
    _upload_again(tus, video, b"bad")

    shown = live.get(f"videos/{video}/").data
    assert (shown["status"], shown["file"]["size"], shown["filename"]) == ("complete", 5, "film.mp4")


def test_a_video_is_being_uploaded_while_another_upload_into_it_goes_on(
    live: ApiClient, tus: Tus, owner: User, course: str, chapter: str
) -> None:
    video = live.video(chapter)
    one, other = (tus.create(6, {"kind": "video", "videoId": video}, operationId=key) for key in ("a", "b"))
    tus.request("DELETE", one.url)

    assert live.get(f"videos/{video}/").data["status"] == "uploading"
    linked = live.post(f"media/{a_file(owner)}/links/", {"targetType": "video", "targetId": video, "role": "source"})
    assert (linked.status, linked.error["code"]) == (409, "conflict")
    live.delete(f"courses/{course}/")
    assert live.get("operations/b/").data["status"] == "failed"
    assert tus.patch(other.url, 0, b"second").status == 410


def test_a_filename_given_while_the_file_comes_stays(live: ApiClient, tus: Tus, course: str, chapter: str) -> None:
    said = tus.create(4, {"kind": "video", "chapterId": chapter}, filename="film.mp4")
    video = live.outline(course)["chapters"][0]["videos"][0]["id"]
    before = live.outline(course)
    live.patch(f"videos/{video}/", {"filename": "renamed.mp4"})
    tus.patch(said.url, 0, b"film")

    shown = live.get(f"videos/{video}/").data
    assert (shown["filename"], shown["file"]["filename"]) == ("renamed.mp4", "renamed.mp4")
    assert replay(before, events_of(course)) == live.outline(course)


# What goes meanwhile


def test_deleting_a_video_ends_its_upload_and_lets_go_of_its_file(
    live: ApiClient, tus: Tus, course: str, chapter: str
) -> None:
    done = _upload(tus, chapter)
    key = StoredFile.objects.get().key
    said = tus.create(4, {"kind": "video", "chapterId": chapter}, operationId="op")
    live.delete(f"chapters/{chapter}/")

    assert live.get("operations/op/").data["steps"][0]["error"]["code"] == "gone"
    assert tus.patch(said.url, 0, b"film").status == 410
    assert Purge.objects.filter(key=key).exists() and not StoredFile.objects.exists()
    assert not Video.objects.filter(pk=done).exists()
    assert replay(live.outline(course), []) == live.outline(course)


@pytest.mark.parametrize("again", ["once", "tried again"])
def test_a_video_whose_upload_failed_is_found_gone_by_a_second_deletion(
    live: ApiClient, tus: Tus, course: str, chapter: str, again: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tus.create(4, {"kind": "video", "chapterId": chapter})
    tus.request("DELETE", said.url)
    if again == "tried again":
        live.post(f"uploads/{said.upload_id}/retry/")
        tus.request("DELETE", said.url)
    lanes.use(lambda lane: None)
    monkeypatch.setattr(runner, "STEPS_AT_ONCE", 1)
    deletions = [live.delete(f"videos/{said.headers['CourseHub-Video-Id']}/") for _ in range(2)]
    runner.run_lane(f"course:{course}")

    first, second = (live.operation(answer)["steps"][0] for answer in deletions)
    assert (first["status"], second["status"]) == ("succeeded", "succeeded")
    assert second["data"]["alreadyGone"] is True


@pytest.mark.parametrize("way", ["the upload", "its operation"])
def test_a_video_that_was_deleted_does_not_return_when_its_upload_is_tried_again(
    live: ApiClient, tus: Tus, course: str, chapter: str, way: str
) -> None:
    said = tus.create(3, {"kind": "video", "chapterId": chapter}, body=b"bad", operationId="op")
    live.delete(f"videos/{said.headers['CourseHub-Video-Id']}/")
    told = _types(course)
    again = live.post(f"uploads/{said.upload_id}/retry/" if way == "the upload" else "operations/op/retry/")

    assert (again.status, again.error["code"]) == (409, "conflict")
    assert live.outline(course)["chapters"][0]["videos"] == [] and _types(course) == told
    assert Upload.objects.get().status == "error"


def test_a_video_that_is_deleted_just_before_its_upload_begins_again_does_not_return(
    live: ApiClient, tus: Tus, course: str, chapter: str
) -> None:
    said = tus.create(4, {"kind": "video", "chapterId": chapter}, operationId="op")
    tus.request("DELETE", said.url)
    lanes.use(lambda lane: None)
    live.delete(f"videos/{said.headers['CourseHub-Video-Id']}/")
    again = live.post("operations/op/retry/")
    runner.run_lane(f"course:{course}")

    assert live.operation(again)["steps"][0]["error"]["code"] == "not_found"
    assert live.outline(course)["chapters"][0]["videos"] == []
    assert tus.patch(said.url, 0, b"film").status == 410
    assert live.post("operations/op/retry/").status == 409


def test_deleting_the_course_ends_its_uploads_and_keeps_its_files(
    live: ApiClient, tus: Tus, course: str, chapter: str
) -> None:
    _upload(tus, chapter)
    said = tus.create(4, {"kind": "video", "chapterId": chapter}, operationId="op")
    live.delete(f"courses/{course}/")

    assert live.get("operations/op/").data["status"] == "failed"
    assert StoredFile.objects.count() == 1
    assert live.post(f"uploads/{said.upload_id}/retry/").status == 410
    live.post(f"courses/{course}/restore/")
    statuses = [video["status"] for video in live.outline(course)["chapters"][0]["videos"]]
    assert statuses == ["complete", "error"]


def _no_longer(live: ApiClient, course: str, member: User, role: str) -> None:
    """Take an editor's rights away: make them a viewer, or nobody."""
    if role == "viewer":
        live.post(f"courses/{course}/members/", {"username": member.username, "role": role})
    else:
        live.delete(f"courses/{course}/members/{member.pk}/")


@pytest.mark.parametrize("role", ["viewer", "nobody"])
def test_who_may_no_longer_edit_may_not_go_on_uploading_either(
    live: ApiClient, tus: Tus, stranger: User, course: str, chapter: str, role: str
) -> None:
    video, editor = _upload(tus, chapter, b"first"), Tus(stranger)
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "editor"})
    said = [
        editor.create(6, target, operationId="op", expect=2, stepId=str(number))
        for number, target in enumerate([{"kind": "video", "chapterId": chapter}, {"kind": "video", "videoId": video}])
    ]
    others = [tus.create(4, {"kind": "video", "chapterId": chapter}), editor.create(4, {"kind": "media"})]
    editor.patch(said[1].url, 0, b"sec")
    _no_longer(live, course, stranger, role)

    assert [editor.patch(one.url, at, b"ond").status for one, at in zip(said, (0, 3), strict=True)] == [410, 410]
    operation = ApiClient(stranger).get("operations/op/").data
    assert (operation["status"], operation["error"]["code"]) == ("failed", "permission_denied")
    told = [event["data"]["error"]["code"] for event in events_of(course) if event["type"] == "operation-failed"]
    assert told == ["permission_denied", "permission_denied"]
    old, new, *_ = live.outline(course)["chapters"][0]["videos"]
    assert (old["id"], old["status"], new["status"]) == (video, "complete", "error")
    assert live.get(f"videos/{video}/").data["file"]["size"] == 5
    retried = [ApiClient(stranger).post(f"uploads/{one.upload_id}/retry/") for one in said]
    assert {answer.status for answer in retried} == {403 if role == "viewer" else 404}
    assert [one.status for one in (tus.patch(others[0].url, 0, b"film"), editor.patch(others[1].url, 0, b"film"))] == [
        204, 204,
    ]  # fmt: skip


def test_an_upload_ends_for_who_may_no_longer_edit_before_it_begins(
    live: ApiClient, stranger: User, course: str, chapter: str
) -> None:
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "editor"})
    lanes.use(lambda lane: None)
    target = {"kind": "video", "chapterId": chapter}
    first = Tus(stranger).create(4, target, operationId="first")
    live.delete(f"courses/{course}/members/{stranger.pk}/")
    second = Tus(stranger).create(4, target, operationId="second")
    runner.run_lane(f"course:{course}")

    for said, key in ((first, "first"), (second, "second")):
        assert Tus(stranger).patch(said.url, 0, b"film").status == 410
        assert ApiClient(stranger).get(f"operations/{key}/").data["error"]["code"] == "permission_denied"
    (video,) = live.outline(course)["chapters"][0]["videos"]
    assert video["status"] == "error"


@pytest.mark.parametrize("into", ["a new video", "one that is there"])
@pytest.mark.parametrize("gone", ["videos", "chapters", "courses"])
def test_an_upload_that_begins_together_with_what_ends_it_ends_its_operation(
    live: ApiClient, tus: Tus, course: str, chapter: str, into: str, gone: str
) -> None:
    target = {"chapterId": chapter} if into == "a new video" else {"videoId": live.video(chapter)}
    lanes.use(lambda lane: None)
    said = tus.create(4, {"kind": "video", **target}, operationId="op")
    ids = {"videos": said.headers["CourseHub-Video-Id"], "chapters": chapter, "courses": course}
    live.delete(f"{gone}/{ids[gone]}/")
    runner.run_lane(f"course:{course}")

    operation = live.get("operations/op/").data
    assert (operation["status"], operation["steps"][0]["error"]["code"]) == ("failed", "gone")
    assert tus.patch(said.url, 0, b"film").status == 410
    began, _, failed = events_of(course)[-3:]
    assert began["data"]["uploadId"] == failed["data"]["uploadId"] == said.upload_id
    assert (failed["type"], failed["operationId"]) == ("operation-failed", "op")


@pytest.mark.parametrize("comes", ["created", "restored"])
def test_an_upload_into_a_course_that_comes_and_goes_at_once_ends_its_operation(
    live: ApiClient, tus: Tus, course: str, chapter: str, comes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes.use(lambda lane: None)
    if comes == "created":
        course = live.course()
        chapter = live.chapter(course)
    else:
        live.delete(f"courses/{course}/")
        live.post(f"courses/{course}/restore/")
    said = tus.create(4, {"kind": "video", "chapterId": chapter}, operationId="op")
    live.delete(f"courses/{course}/")
    if comes == "restored":
        monkeypatch.setattr(runner, "STEPS_AT_ONCE", 1)
        runner.run_lane(f"course:{course}", for_seconds=0)
        monkeypatch.undo()
    runner.run_lane(f"course:{course}")

    assert live.get(f"courses/{course}/").data["deletedAt"]
    operation = live.get("operations/op/").data
    assert (operation["status"], operation["steps"][0]["error"]["code"]) == ("failed", "gone")
    assert tus.patch(said.url, 0, b"film").status == 410


# A save with uploads


def test_a_mixed_save_with_three_uploads_ends_with_one_event(
    live: ApiClient, tus: Tus, course: str, chapter: str
) -> None:
    videos = [live.video(chapter), live.video(chapter)]
    changes = [
        {"action": "chapter.create", "tempId": "new", "title": "New"},
        *({"action": "video.update", "videoId": video, "title": "Renamed"} for video in videos),
    ]
    live.post(f"courses/{course}/save/", {"operationId": "op", "expect": 6, "stepId": "save", "changes": changes})
    opened = [
        tus.create(
            4, {"kind": "video", "chapterId": "new", "tempId": f"v{n}"}, operationId="op", expect=6, stepId=f"u{n}"
        )
        for n in range(3)
    ]
    assert "batch-operation-complete" not in _types(course)
    assert live.get("operations/op/").data["progress"] == 50
    for said in opened[:2]:
        tus.patch(said.url, 0, b"film")
    assert "batch-operation-complete" not in _types(course)
    tus.patch(opened[2].url, 0, b"bad!")

    (end,) = [event for event in events_of(course) if event["type"] == "batch-operation-complete"]
    assert (end["data"]["status"], end["data"]["succeeded"], end["data"]["failed"]) == ("partial", 5, 1)
    assert end == events_of(course)[-1]
    assert [result["status"] for result in end["data"]["results"]] == ["succeeded"] * 5 + ["failed"]
    titles = [chapter["title"] for chapter in live.outline(course)["chapters"]]
    assert titles == ["Chapter", "New"]


def test_an_upload_may_fill_a_video_that_its_save_creates(live: ApiClient, tus: Tus, course: str, chapter: str) -> None:
    changes = [{"action": "video.create", "tempId": "v", "chapterId": chapter, "title": "Empty"}]
    live.post(f"courses/{course}/save/", {"operationId": "op", "expect": 2, "changes": changes})
    target = {"kind": "video", "chapterId": chapter, "tempId": "v"}
    tus.create(4, target, body=b"film", operationId="op", expect=2, stepId="2")

    (video,) = live.outline(course)["chapters"][0]["videos"]
    assert (video["title"], video["status"]) == ("Empty", "complete")
    assert live.get("operations/op/").data["status"] == "succeeded"


def test_an_upload_holds_up_nobody(live: ApiClient, tus: Tus, course: str, chapter: str) -> None:
    said = tus.create(4, {"kind": "video", "chapterId": chapter})
    video = said.headers["CourseHub-Video-Id"]
    renamed = live.patch(f"videos/{video}/", {"title": "Renamed"})
    assert live.operation(renamed)["status"] == "succeeded"

    tus.patch(said.url, 0, b"film")
    assert live.get(f"videos/{video}/").data["title"] == "Renamed"


def test_uploads_are_created_and_tried_again_at_the_same_time(
    live: ApiClient, tus: Tus, owner: User, course: str, chapter: str
) -> None:
    """One counts for the quotas, the other appends to the lane: neither waits for what the other holds."""
    target = {"kind": "video", "chapterId": chapter}
    failed = tus.create(4, target, operationId="op")
    tus.request("DELETE", failed.url)
    with transaction.atomic():
        queue_up([f"course:{course}"])
        created = Running(lambda: Tus(owner).create(4, target))
        until_someone_waits_for_a_lock()
        again = [
            Running(lambda path=path: ApiClient(owner).post(path))
            for path in (f"uploads/{failed.upload_id}/retry/", "operations/op/retry/")
        ]
        until_someone_waits_for_a_lock(3)

    assert created.result().status == 201
    assert sorted(one.result().status for one in again) == [202, 409]


def test_an_upload_waits_for_nothing_that_goes_on_in_its_users_library(tus: Tus, owner: User, chapter: str) -> None:
    media = a_file(owner)
    with transaction.atomic():
        Media.objects.filter(pk=media).update(trashed=True)
        uploaded = Running(lambda: tus.create(4, {"kind": "video", "chapterId": chapter}))
        assert uploaded.result().status == 201
