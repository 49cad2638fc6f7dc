"""Videos that have their file from a library, links to what is still being created, playback, and new versions."""

import threading
from typing import Any

import pytest
from django.db import connection

from apps.accounts.models import User
from apps.media.models import Media, MediaLink
from apps.operations import runner
from tests.support.api import ApiClient, events_of
from tests.support.library import a_file, add_version, stored
from tests.support.replay import replay
from tests.support.uploading import Tus, content


@pytest.fixture
def course(live: ApiClient) -> str:
    return live.course("Course")


@pytest.fixture
def video(live: ApiClient, course: str) -> str:
    return live.video(live.chapter(course))


def _source(api: ApiClient, media: str, video: str) -> Any:
    return api.post(f"media/{media}/links/", {"targetType": "lesson", "targetId": video, "role": "source"})


def _check_replica(api: ApiClient, course: str, before: Any) -> None:
    """The events after an outline say all that a later one does."""
    after = api.outline(course)
    assert replay(before, events_of(course)) == after


def test_a_link_decides_a_videos_file_as_long_as_it_is_there(
    live: ApiClient, owner: User, course: str, video: str
) -> None:
    before, media = live.outline(course), a_file(owner, "film.mp4", size=77)
    assert live.get(f"videos/{video}/playback/").status == 409
    link = _source(live, media, video).data["linkId"]

    shown = live.get(f"videos/{video}/").data
    assert (shown["status"], shown["file"]["size"], shown["version"]) == ("complete", 77, 1)
    assert shown == live.outline(course)["chapters"][0]["videos"][0]
    played = live.get(f"videos/{video}/playback/").data
    assert played["file"]["filename"] == "film.mp4" and played["url"]
    assert [event["type"] for event in events_of(course)[-2:]] == ["media-link-complete", "video-update-complete"]
    _check_replica(live, course, before)

    live.delete(f"media-links/{link}/")
    assert live.get(f"videos/{video}/").data["file"] is None
    assert live.get(f"videos/{video}/playback/").status == 409
    _check_replica(live, course, before)


def test_what_becomes_of_the_file_becomes_of_the_video(live: ApiClient, owner: User, course: str, video: str) -> None:
    before, media = live.outline(course), a_file(owner, size=1)
    _source(live, media, video)
    add_version(media, stored(size=2))

    def size() -> int | None:
        file = live.get(f"videos/{video}/").data["file"]
        _check_replica(live, course, before)
        return file and int(file["size"])

    live.operation(live.post(f"media/{media}/versions/1/restore/", {}))
    assert size() == 1
    live.operation(live.post(f"media/{media}/versions/2/restore/", {}))
    assert size() == 2
    live.delete(f"media/{media}/?force=true")
    assert size() is None
    live.post(f"media/{media}/restore/", {"restoreLinks": "all"})
    assert size() == 2
    live.post("media/bulk/delete/", {"mediaIds": [media], "force": True})
    assert size() is None


def test_a_new_version_reaches_the_video_and_its_course(
    live: ApiClient, owner: User, tus: Tus, course: str, video: str
) -> None:
    before, media = live.outline(course), a_file(owner)
    _source(live, media, video)
    answer = live.post(f"media/{media}/replace/", {"filename": "new.mp4", "size": 5, "operationId": "replace"})

    assert answer.data["mediaId"] == media
    assert answer.headers["Location"] == answer.data["url"]
    assert live.get(f"media/{media}/").data["status"] == "uploading"
    assert live.get(f"videos/{video}/").data["file"]["size"] == 1000, "the old one stays meanwhile"
    assert tus.patch(answer.data["url"], 0, content(5)).offset == 5
    assert live.operation(answer)["status"] == "succeeded"
    assert live.get(f"media/{media}/").data["currentVersion"] == 2
    assert live.get(f"videos/{video}/").data["file"]["size"] == 5
    _check_replica(live, course, before)
    again = live.post(f"media/{media}/replace/", {"filename": "new.mp4", "size": 5, "operationId": "replace"})
    assert again.data == answer.data


def test_replacing_is_refused_as_any_upload_is(live: ApiClient, owner: User, stranger: User) -> None:
    media = a_file(owner)
    body = {"size": 3}
    assert ApiClient(stranger).post(f"media/{media}/replace/", body).status == 404
    assert live.post(f"media/{media}/replace/", {}).error["fields"] == {"size": ["Field required"]}
    assert live.post(f"media/{media}/replace/", {"size": 2**52}).status == 413
    straight = live.post(f"media/{media}/replace/", {**body, "protocol": "s3"})
    assert straight.data["url"].startswith("/api/v1/uploads/s3/multipart/")
    live.delete(f"media/{media}/")
    assert live.post(f"media/{media}/replace/", body).status == 410


def test_uploads_and_sources_keep_out_of_each_others_way(
    live: ApiClient, owner: User, tus: Tus, course: str, video: str
) -> None:
    before, media = live.outline(course), a_file(owner)
    upload = tus.create(5, {"kind": "video", "videoId": video})
    refused = _source(live, media, video)
    assert (refused.status, refused.error["code"]) == (409, "conflict")
    assert refused.error["message"] == "A file is being uploaded to this video."
    assert live.post(f"media/{media}/links/", {"targetType": "video", "targetId": video}).status == 202
    tus.patch(upload.url, 0, content(5))

    link = _source(live, media, video).data["linkId"]
    assert live.get(f"videos/{video}/").data["file"]["size"] == 1000
    assert tus.create(5, {"kind": "video", "videoId": video}).status == 409
    live.delete(f"media-links/{link}/")
    assert live.get(f"videos/{video}/").data["file"]["size"] == 5, "what was uploaded is still there"
    assert tus.create(6, {"kind": "video", "videoId": video}).status == 201
    _check_replica(live, course, before)


def test_a_source_does_not_return_to_a_video_that_a_file_is_being_uploaded_to(
    live: ApiClient, owner: User, tus: Tus, video: str
) -> None:
    media = a_file(owner)
    _source(live, media, video)
    live.delete(f"media/{media}/?force=true")
    upload = tus.create(5, {"kind": "video", "videoId": video})
    restored = live.operation(live.post(f"media/{media}/restore/", {"restoreLinks": "all"}))

    assert [link["result"] for link in restored["steps"][0]["data"]["links"]] == ["conflict"]
    tus.patch(upload.url, 0, content(5))
    assert live.get(f"videos/{video}/").data["file"]["size"] == 5


def test_an_upload_that_meets_a_source_when_its_turn_comes_fails(api: ApiClient, owner: User, tus: Tus) -> None:
    course = api.course()
    video = api.video(api.chapter(course))
    runner.run_lane(f"course:{course}")
    media = a_file(owner)
    tus.create(5, {"kind": "video", "videoId": video}, operationId="late")
    _source(api, media, video)
    runner.run_lane(f"user:{owner.pk}")
    runner.run_lane(f"course:{course}")

    assert api.get("operations/late/").data["steps"][0]["error"]["code"] == "conflict"
    assert api.get(f"videos/{video}/").data["status"] == "complete"


def test_a_source_that_meets_an_upload_when_its_turn_comes_fails(api: ApiClient, owner: User, tus: Tus) -> None:
    course = api.course()
    video = api.video(api.chapter(course))
    runner.run_lane(f"course:{course}")
    linked = _source(api, a_file(owner), video)
    tus.create(5, {"kind": "video", "videoId": video})
    runner.run_lane(f"course:{course}")
    runner.run_lane(f"user:{owner.pk}")

    error = api.operation(linked)["steps"][0]["error"]
    assert error == {"code": "conflict", "message": "A file is being uploaded to this video."}


@pytest.mark.parametrize("through_the_trash", [False, True])
def test_a_file_that_became_a_document_does_not_return_as_a_videos_source(
    live: ApiClient, owner: User, course: str, video: str, through_the_trash: bool
) -> None:
    media = a_file(owner)
    add_version(media, stored(category="document", content_type="application/pdf"))
    live.post(f"media/{media}/versions/1/restore/", {})
    link = _source(live, media, video).data["linkId"]
    live.delete(f"courses/{course}/")
    assert live.operation(live.post(f"media/{media}/versions/2/restore/", {}))["status"] == "succeeded"
    if through_the_trash:
        live.delete(f"media/{media}/")
    live.operation(live.post(f"courses/{course}/restore/"))

    if through_the_trash:
        operation = live.operation(live.post(f"media/{media}/restore/", {"restoreLinks": "all"}))
        assert [each["result"] for each in operation["steps"][0]["data"]["links"]] == ["conflict"]
    else:
        line = live.get(f"media/{media}/history/").data[0]
        assert (line["details"]["linkId"], line["details"]["result"]) == (link, "conflict")
    assert live.get(f"videos/{video}/").data["file"] is None
    assert live.get(f"media/{media}/").data["linkCount"] == 0


def test_members_play_what_is_in_their_course_and_nothing_else(
    live: ApiClient, owner: User, stranger: User, course: str, video: str
) -> None:
    media, private, unfinished = a_file(owner), a_file(owner), a_file(owner)
    Media.objects.filter(pk=unfinished).update(current_version=None, status="uploading")
    _source(live, media, video)
    member = ApiClient(stranger)
    assert member.get(f"media/{media}/playback/").status == 404

    live.post(f"courses/{course}/members/", {"username": "stan", "role": "viewer"})
    assert member.get(f"media/{media}/playback/").data["expiresAt"]
    assert member.get(f"videos/{video}/playback/").data["file"]["size"] == 1000
    assert member.get(f"media/{private}/playback/").status == 404
    assert live.get(f"media/{private}/playback/").data["url"]
    assert live.get(f"media/{unfinished}/playback/").error["status"] == "uploading"
    live.delete(f"media/{media}/?force=true")
    assert member.get(f"media/{media}/playback/").status == 404
    assert live.get(f"media/{media}/playback/").status == 200, "its owner may look at what is in the trash"


# Links to what is still being created


def test_a_link_waits_for_the_target_that_the_same_operation_creates(api: ApiClient, owner: User) -> None:
    course, media = api.course(), a_file(owner)
    changes = [
        {"action": "chapter.create", "tempId": "c", "title": "C"},
        {"action": "video.create", "tempId": "v", "chapterId": "c", "title": "V"},
    ]
    named = {"operationId": "op", "expect": 4}
    api.post(f"courses/{course}/save/", {**named, "changes": changes})
    body = {**named, "targetType": "video", "targetId": "v", "role": "source", "stepId": "link"}
    linked = api.post(f"media/{media}/links/", body)
    api.post(f"media/{media}/links/", {**named, "targetType": "chapter", "targetId": "c", "stepId": "other"})
    runner.run_lane(f"user:{owner.pk}")

    assert [step["error"] for step in api.operation(linked)["steps"]] == [None] * 4
    assert MediaLink.objects.filter(media=media).count() == 2
    assert api.outline(course)["chapters"][0]["videos"][0]["status"] == "complete"
    assert api.post(f"media/{media}/links/", {"targetType": "video", "targetId": "v"}).status == 404


def test_a_link_to_what_could_not_be_created_fails_with_it(api: ApiClient, owner: User) -> None:
    course, media = api.course(), a_file(owner)
    chapter = api.chapter(course)
    runner.run_lane(f"course:{course}")
    api.delete(f"chapters/{chapter}/")
    video = api.video(chapter)
    linked = api.post(f"media/{media}/links/", {"targetType": "video", "targetId": video})
    runner.run_lane(f"user:{owner.pk}")

    assert api.operation(linked)["steps"][0]["error"]["code"] == "dependency_failed"


def test_a_link_waits_for_whoever_is_just_creating_its_target(api: ApiClient, owner: User) -> None:
    course, media = api.course(), a_file(owner)
    linked = api.post(f"media/{media}/links/", {"targetType": "course", "targetId": course})

    def link() -> None:
        runner.run_lane(f"user:{owner.pk}")
        connection.close()

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 1))", [f"course:{course}"])
        thread = threading.Thread(target=link)
        thread.start()
        _until_someone_waits()
        cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 1))", [f"course:{course}"])
    thread.join()
    assert api.operation(linked)["status"] == "succeeded"


def _until_someone_waits() -> None:
    with connection.cursor() as cursor:
        for _ in range(100_000):
            cursor.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            if cursor.fetchone():
                return
    raise AssertionError("nobody waits")


def test_a_file_that_is_still_coming_may_be_named_by_its_temp_id(api: ApiClient, tus: Tus, owner: User) -> None:
    course = api.course()
    runner.run_lane(f"course:{course}")
    tus.create(5, {"kind": "media", "tempId": "m"}, operationId="op", expect=2, stepId="1")
    body = {"operationId": "op", "expect": 2, "stepId": "2", "targetType": "course", "targetId": course}
    linked = api.post("media/m/links/", body)
    runner.run_lane(f"user:{owner.pk}")

    assert linked.status == 202
    assert MediaLink.objects.get().media_id == Media.objects.get().pk
    assert api.post("media/m/links/", {"targetType": "course", "targetId": course}).status == 404


@pytest.mark.parametrize("role", ["source", "thumbnail"])
def test_a_role_for_one_kind_of_file_does_not_wait_for_its_bytes(
    live: ApiClient, tus: Tus, video: str, role: str
) -> None:
    upload = tus.create(5, {"kind": "media"})
    body = {"targetType": "video", "targetId": video, "role": role}
    media = upload.headers["CourseHub-Media-Id"]
    answer = live.post(f"media/{media}/links/", body)
    assert (answer.status, answer.error["code"]) == (409, "conflict")
    assert answer.error["message"] == "This file is not fully uploaded yet, so its category is not known."

    assert live.post(f"media/{media}/links/", {**body, "role": "attachment"}).status == 202
    tus.patch(upload.url, 0, content(5))
    assert live.post(f"media/{media}/links/", body).status == (202 if role == "source" else 409), "it is a film"


def test_a_link_that_is_asked_for_together_with_its_files_upload_fails_and_says_why(
    api: ApiClient, tus: Tus, owner: User
) -> None:
    course = api.course()
    video = api.video(api.chapter(course))
    runner.run_lane(f"course:{course}")
    tus.create(5, {"kind": "media", "tempId": "m"}, operationId="op", expect=2, stepId="1")
    named = {"operationId": "op", "expect": 2, "stepId": "2"}
    linked = api.post("media/m/links/", {**named, "targetType": "video", "targetId": video, "role": "source"})
    runner.run_lane(f"user:{owner.pk}")

    error = api.operation(linked)["steps"][1]["error"]
    assert error == {
        "code": "conflict",
        "message": "This file is not fully uploaded yet, so its category is not known.",
    }
