"""Links: who may make and see them, and what becomes of them when their targets go and return."""

import pytest

from apps.accounts.models import User
from apps.media.actions import MediaLane
from apps.media.models import Media, MediaLink
from apps.operations import runner, selectors
from apps.operations.pace import Pace
from tests.support.api import Answer, ApiClient, events_of
from tests.support.library import a_file
from tests.support.uploading import Tus


def _link(api: ApiClient, media: str, type_: str, id_: str, **more: object) -> str:
    answer = api.post(f"media/{media}/links/", {"targetType": type_, "targetId": id_, **more})
    assert api.operation(answer)["status"] == "succeeded", api.operation(answer)
    return answer.data["linkId"]


def _count(media: str) -> int:
    count = Media.objects.get(pk=media).link_count
    assert count == MediaLink.objects.filter(media=media).count()
    return count


@pytest.mark.parametrize("at_once", [200, 1])
@pytest.mark.parametrize("by", ["unlink", "delete"])
def test_a_link_that_goes_at_once_was_a_use_of_its_file(
    api: ApiClient, owner: User, monkeypatch: pytest.MonkeyPatch, by: str, at_once: int
) -> None:
    monkeypatch.setattr(MediaLane, "pace", Pace(most=at_once))
    lane, course, media = f"user:{owner.pk}", api.course(), a_file(owner)
    runner.run_lane(f"course:{course}")
    used = []
    for _ in range(2):
        link = api.post(f"media/{media}/links/", {"targetType": "course", "targetId": course}).data["linkId"]
        api.delete(f"media-links/{link}/" if by == "unlink" else f"media/{media}/?force=true")
        if by == "delete":
            api.post(f"media/{media}/restore/")
        runner.run_lane(lane)
        used.append(Media.objects.get(pk=media).last_used_at)

    first, second = used
    assert first and second and first < second
    assert _count(media) == 0


def test_a_link_is_told_to_the_course_and_to_the_owner_who_alone_hears_how_often(live: ApiClient, owner: User) -> None:
    course = live.course()
    media = a_file(owner, "a.mp4")
    link = _link(live, media, "course", course, role="intro", position=3)

    told = {"linkId": link, "mediaId": media, "targetType": "course", "targetId": course, "role": "intro"}
    told |= {"position": 3, "name": "a.mp4", "category": "video"}
    on_course, on_user = events_of(course)[-1], events_of(f"user:{owner.pk}")[-1]
    assert (on_course["type"], on_course["data"]) == ("media-link-complete", told)
    assert (on_user["type"], on_user["data"]) == ("media-link-complete", told | {"linkCount": 1})
    live.operation(live.delete(f"media-links/{link}/"))
    assert events_of(course)[-1]["type"] == events_of(f"user:{owner.pk}")[-1]["type"] == "media-unlink-complete"
    assert events_of(f"user:{owner.pk}")[-1]["data"]["linkCount"] == _count(media) == 0
    assert live.delete(f"media-links/{link}/").status == 404


def test_positions_follow_the_last_one_and_stay(live: ApiClient, owner: User) -> None:
    course = live.course()
    files = [a_file(owner) for _ in range(3)]
    ids = [_link(live, file, "course", course) for file in files]
    live.delete(f"media/{files[1]}/?force=true")
    live.post(f"media/{files[1]}/restore/", {"restoreLinks": "all"})

    links = live.get(f"media-links/?targetType=course&targetId={course}").data
    assert {link["id"]: link["position"] for link in links} == dict(zip(ids, [0, 1, 2], strict=True))


@pytest.mark.parametrize("at_once", [200, 1])
def test_positions_follow_also_what_has_just_returned(
    api: ApiClient, owner: User, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(MediaLane, "pace", Pace(most=at_once))
    lane, course = f"user:{owner.pk}", api.course()
    runner.run_lane(f"course:{course}")
    files, target = [a_file(owner) for _ in range(3)], {"targetType": "course", "targetId": course}
    for file, position in zip(files, (0, 10), strict=False):
        api.post(f"media/{file}/links/", {**target, "position": position})
    api.delete(f"media/{files[1]}/?force=true")
    runner.run_lane(lane)
    api.post(f"media/{files[1]}/restore/", {"restoreLinks": "all"})
    linked = api.post(f"media/{files[2]}/links/", target)
    runner.run_lane(lane)

    assert api.operation(linked)["steps"][0]["data"]["position"] == 11


def test_whoever_comes_after_the_last_position_shares_it(live: ApiClient, owner: User) -> None:
    course = live.course()
    last = _link(live, a_file(owner), "course", course, position=2**31 - 1)
    others = [_link(live, a_file(owner), "course", course) for _ in range(2)]

    links = live.get(f"media-links/?targetType=course&targetId={course}").data
    assert [(link["id"], link["position"]) for link in links] == [(id_, 2**31 - 1) for id_ in (last, *others)]


def test_what_cannot_be_linked_is_refused_when_it_is_asked(live: ApiClient, owner: User, stranger: User) -> None:
    course = live.course()
    video = live.video(live.chapter(course))
    theirs = ApiClient(stranger).course()
    media, image, trashed = a_file(owner), a_file(owner, category="image"), a_file(owner)
    live.delete(f"media/{trashed}/")
    link = _link(live, media, "course", course)
    _link(live, media, "video", video, role="source")
    other = a_file(owner)

    def refusal(file: str, type_: str, id_: str, role: str = "attachment") -> tuple[int, str]:
        answer = live.post(f"media/{file}/links/", {"targetType": type_, "targetId": id_, "role": role})
        return answer.status, answer.error["code"]

    assert refusal(trashed, "course", course) == (410, "gone")
    assert refusal(media, "course", theirs) == (404, "not_found")
    assert refusal(a_file(stranger), "course", course) == (404, "not_found")
    assert refusal(media, "course", course) == (409, "conflict")
    assert live.post(f"media/{media}/links/", {"targetType": "course", "targetId": course}).error["linkId"] == link
    assert refusal(other, "video", video, "source") == (409, "conflict")
    assert refusal(image, "video", video, "source") == refusal(media, "course", course, "source") == (409, "conflict")
    assert refusal(media, "chapter", video) == (404, "not_found")
    assert refusal(media, "page", course) == (400, "validation_error")
    live.delete(f"courses/{course}/")
    assert refusal(other, "course", course) == (410, "gone")


def test_what_is_put_right_while_a_request_looks_is_not_refused(
    api: ApiClient, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = f"user:{owner.pk}"
    course = api.course()
    runner.run_lane(f"course:{course}")
    media = a_file(owner)
    link = api.post(f"media/{media}/links/", {"targetType": "course", "targetId": course}).data["linkId"]
    runner.run_lane(lane)
    api.delete(f"media-links/{link}/")

    def has_pending(asked: str) -> bool:
        monkeypatch.undo()
        runner.run_lane(lane)
        return selectors.has_pending(asked)

    monkeypatch.setattr(selectors, "has_pending", has_pending)
    assert api.delete(f"media/{media}/").status == 202


def test_what_becomes_wrong_on_the_way_fails_its_step(api: ApiClient, owner: User) -> None:
    lane = f"user:{owner.pk}"
    course = api.course()
    runner.run_lane(f"course:{course}")
    media = a_file(owner)
    body = {"targetType": "course", "targetId": course}
    answers = [
        api.post(f"media/{media}/links/", body),
        api.post(f"media/{media}/links/", body),
        api.delete(f"media/{media}/"),
        api.delete(f"media/{media}/?force=true"),
        api.post(f"media/{media}/links/", body),
        api.patch(f"media/{media}/", {"name": "late"}),
        api.post(f"media/{media}/purge/"),
        api.post(f"media/{media}/restore/"),
    ]
    runner.run_lane(lane)

    errors = [(api.operation(answer)["steps"][0]["error"] or {}).get("code") for answer in answers]
    assert errors == [None, "conflict", "in_use", None, "gone", "gone", None, "not_found"]
    blocked = api.operation(answers[2])["steps"][0]["error"]
    assert [blocker["id"] for blocker in blocked["blockers"]] == [course]


@pytest.mark.parametrize("at_once", [200, 1])
def test_a_link_that_could_not_be_made_cannot_be_removed(
    api: ApiClient, owner: User, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(MediaLane, "pace", Pace(most=at_once))
    lane, course = f"user:{owner.pk}", api.course()
    runner.run_lane(f"course:{course}")
    media, body = a_file(owner), {"targetType": "course", "targetId": course}
    api.post(f"media/{media}/links/", body)
    link = api.post(f"media/{media}/links/", body).data["linkId"]
    unlinked = api.delete(f"media-links/{link}/")
    runner.run_lane(lane)

    assert api.operation(unlinked)["steps"][0]["error"]["code"] == "dependency_failed"
    assert "media-unlink-complete" not in [event["type"] for event in events_of(lane)]


@pytest.mark.parametrize("at_once", [200, 1])
def test_a_link_cannot_be_removed_before_another_try_makes_it_but_after_it(
    api: ApiClient, owner: User, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(MediaLane, "pace", Pace(most=at_once))
    course, media = api.course(), a_file(owner)
    runner.run_lane(f"course:{course}")
    made = api.post(f"media/{media}/links/", {"targetType": "course", "targetId": course, "operationId": "op"})
    unlinked = [api.delete(f"media-links/{made.data['linkId']}/")]
    api.post("operations/op/cancel/")
    api.post("operations/op/retry/")
    unlinked += [api.delete(f"media-links/{made.data['linkId']}/") for _ in range(2)]
    runner.run_lane(f"user:{owner.pk}")

    steps = [api.operation(answer)["steps"][0] for answer in unlinked]
    assert [(step["error"] or {}).get("code") for step in steps] == ["dependency_failed", None, None]
    assert [step["data"].get("alreadyGone") for step in steps] == [None, None, True]
    assert _count(media) == 0


def test_what_will_be_something_else_is_no_file_and_no_link(api: ApiClient, tus: Tus, owner: User) -> None:
    course, media = api.course(), a_file(owner)
    runner.run_lane(f"course:{course}")
    chapter = api.chapter(course)
    coming = str(tus.create(4, {"kind": "media"}).headers["CourseHub-Media-Id"])
    link = api.post(f"media/{media}/links/", {"targetType": "course", "targetId": course}).data["linkId"]
    answers = [
        *(api.delete(f"media-links/{id_}/") for id_ in (chapter, coming)),
        *(api.patch(f"media/{id_}/", {"name": "wrong"}) for id_ in (chapter, link)),
        *(api.patch(f"chapters/{id_}/", {"title": "wrong"}) for id_ in (coming, link)),
    ]
    deleted = api.post("media/bulk/delete/", {"mediaIds": [link]})
    runner.run_lane(f"user:{owner.pk}")

    assert [answer.status for answer in answers] == [404] * 6
    assert api.operation(deleted)["steps"][0]["error"]["code"] == "not_found"


def test_links_go_with_their_chapter_or_video_for_good(live: ApiClient, owner: User) -> None:
    course = live.course()
    chapter, other = live.chapter(course), live.chapter(course)
    video, moved = live.video(chapter), live.video(chapter)
    media = a_file(owner)
    for type_, id_ in (("chapter", chapter), ("video", video), ("video", moved), ("course", course)):
        _link(live, media, type_, id_)
    changes = [
        {"action": "video.move", "videoId": moved, "chapterId": other},
        {"action": "chapter.delete", "chapterId": chapter},
    ]
    answer = live.post(f"courses/{course}/save/", {"changes": changes})

    assert live.operation(answer)["status"] == "succeeded"
    assert {link["targetId"] for link in live.get(f"media/{media}/").data["links"]} == {moved, course}
    assert _count(media) == 2
    told = [event for event in events_of(f"user:{owner.pk}") if event["operationId"] == answer.body["operationId"]]
    assert {event["data"]["targetId"] for event in told} == {chapter, video}
    live.delete(f"videos/{moved}/")
    assert _count(media) == 1
    actions = [e["details"].get("because") for e in live.get(f"media/{media}/history/?action=media.unlink").data]
    assert actions == ["video.delete", "chapter.delete", "chapter.delete"]


def test_owners_hear_how_often_a_file_is_used_after_each_link_that_goes_or_returns_with_its_target(
    live: ApiClient, owner: User
) -> None:
    course, media, other = live.course(), a_file(owner), a_file(owner)
    first, second = live.chapter(course), live.chapter(course)
    video = live.video(first)
    for type_, id_ in (("chapter", first), ("video", video), ("chapter", second), ("course", course)):
        _link(live, media, type_, id_)
    _link(live, other, "chapter", second)
    _link(live, media, "course", live.course())

    def told(answer: Answer) -> list[tuple[str, int]]:
        assert live.operation(answer)["status"] == "succeeded"
        events = [
            event for event in events_of(f"user:{owner.pk}") if event["operationId"] == answer.body["operationId"]
        ]
        heard = [event["data"] for event in events if event["data"].get("mediaId") == media]
        assert heard[-1]["linkCount"] == _count(media)
        return [(data["targetId"], data["linkCount"]) for data in heard]

    changes = [{"action": "chapter.delete", "chapterId": second}, {"action": "video.delete", "videoId": video}]
    assert told(live.post(f"courses/{course}/save/", {"changes": changes})) == [(second, 4), (video, 3)]
    assert told(live.delete(f"courses/{course}/")) == [(first, 2), (course, 1)]
    assert told(live.post(f"courses/{course}/restore/")) == [(first, 2), (course, 3)]


def test_a_courses_links_go_and_return_with_it(live: ApiClient, owner: User) -> None:
    course = live.course()
    video = live.video(live.chapter(course))
    media = a_file(owner)
    _link(live, media, "course", course, position=4)
    _link(live, media, "video", video)
    before = live.get(f"media/{media}/").data

    live.delete(f"courses/{course}/")
    assert _count(media) == 0
    assert live.delete(f"media/{media}/").status == 202, "nothing uses it now"
    live.post(f"media/{media}/restore/")
    live.post(f"courses/{course}/restore/")
    after = live.get(f"media/{media}/").data
    assert {**after, "updatedAt": ""} == {**before, "updatedAt": ""}


@pytest.mark.parametrize("file_first", [True, False])
def test_a_link_waits_for_whichever_of_its_ends_returns_last(live: ApiClient, owner: User, file_first: bool) -> None:
    course = live.course()
    for deletion in ("file", "course"):
        media = a_file(owner)
        _link(live, media, "course", course)
        deletions = [lambda m=media: live.delete(f"media/{m}/?force=true"), lambda: live.delete(f"courses/{course}/")]
        for delete in deletions if deletion == "file" else reversed(deletions):
            assert live.operation(delete())["status"] == "succeeded"
        returns = [
            lambda m=media: live.post(f"media/{m}/restore/", {"restoreLinks": "all"}),
            lambda: live.post(f"courses/{course}/restore/"),
        ]
        for restore in returns if file_first else reversed(returns):
            assert live.operation(restore())["status"] == "succeeded"
        assert _count(media) == 1, deletion


def _two_for_one_place(live: ApiClient, owner: User, course: str) -> tuple[list[str], list[str]]:
    """Link two images as a course's thumbnail, the first of which goes before the second comes; delete the course."""
    files = [a_file(owner, category="image") for _ in range(2)]
    first = _link(live, files[0], "course", course, role="thumbnail")
    live.delete(f"media/{files[0]}/?force=true")
    second = _link(live, files[1], "course", course, role="thumbnail")
    live.delete(f"courses/{course}/")
    return files, [first, second]


def test_a_place_that_a_deleted_course_will_have_taken_is_taken(live: ApiClient, owner: User) -> None:
    course = live.course()
    files, (first, second) = _two_for_one_place(live, owner, course)
    operation = live.operation(live.post(f"media/{files[0]}/restore/", {"restoreLinks": "all"}))
    report = operation["steps"][0]["data"]["links"]

    assert [(link["linkId"], link["result"]) for link in report] == [(first, "conflict")]
    assert live.operation(live.post(f"courses/{course}/restore/"))["status"] == "succeeded"
    assert [link["id"] for link in live.get(f"media-links/?targetType=course&targetId={course}").data] == [second]


def test_a_course_returns_with_the_first_of_two_links_for_one_place(live: ApiClient, owner: User) -> None:
    course = live.course()
    files, (first, second) = _two_for_one_place(live, owner, course)
    live.delete(f"media/{files[1]}/")
    for file in files:
        live.post(f"media/{file}/restore/", {"restoreLinks": "all"})

    assert live.operation(live.post(f"courses/{course}/restore/"))["status"] == "succeeded"
    assert [link["id"] for link in live.get(f"media-links/?targetType=course&targetId={course}").data] == [first]
    assert [_count(file) for file in files] == [1, 0]
    line = live.get(f"media/{files[1]}/history/").data[0]
    told = {name: line["details"][name] for name in ("linkId", "because", "result")}
    assert line["action"] == "media.unlink"
    assert told == {"linkId": second, "because": "course.restore", "result": "conflict"}


@pytest.mark.parametrize("at_once", [True, False])
def test_links_of_a_chapter_that_goes_as_soon_as_its_course_returns(
    api: ApiClient, owner: User, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    course = api.course()
    lane, chapter, media = f"course:{course}", api.chapter(course), a_file(owner)
    runner.run_lane(lane)
    for type_, id_ in (("course", course), ("chapter", chapter)):
        api.post(f"media/{media}/links/", {"targetType": type_, "targetId": id_})
    runner.run_lane(f"user:{owner.pk}")
    api.delete(f"courses/{course}/")
    asked = [api.post(f"courses/{course}/restore/"), api.delete(f"chapters/{chapter}/")]
    asked += [api.delete(f"courses/{course}/")]
    with monkeypatch.context() as only_the_first:
        only_the_first.setattr(runner, "STEPS_AT_ONCE", 1)
        runner.run_lane(lane, for_seconds=0)
    if not at_once:
        runner.run_lane(lane)
    asked += [api.post(f"courses/{course}/restore/")]
    runner.run_lane(lane)

    assert [api.operation(answer)["status"] for answer in asked] == ["succeeded"] * 4
    (link,) = api.get(f"media/{media}/").data["links"]
    assert (_count(media), link["targetType"]) == (1, "course")
    told = [event for event in events_of(f"user:{owner.pk}") if event["type"].startswith("media-")]
    last = {event["data"]["targetType"]: event["type"] for event in told}
    assert last == {"course": "media-link-complete", "chapter": "media-unlink-complete"}
    lines = api.get(f"media/{media}/history/").data[::-1]
    last = {line["details"]["targetType"]: line["action"] for line in lines}
    assert last == {"course": "media.link", "chapter": "media.unlink"}


def test_members_see_what_is_linked_into_their_course_and_no_more(live: ApiClient, owner: User, stranger: User) -> None:
    course = live.course("Shared")
    chapter = live.chapter(course)
    media, private = a_file(owner, "shared.mp4"), a_file(owner)
    link = _link(live, media, "chapter", chapter)
    member = ApiClient(stranger)
    path = f"media-links/?targetType=course&targetId={course}&within=true"
    assert member.get(path).status == member.get(f"media/{media}/").status == 404

    live.post(f"courses/{course}/members/", {"username": "stan", "role": "viewer"})
    (shown,) = member.get(path).data
    assert shown["media"]["name"] == "shared.mp4" and "linkCount" not in shown["media"]
    assert member.get("media/").data == []
    for answer in (
        member.get(f"media/{media}/"),
        member.delete(f"media/{media}/"),
        member.patch(f"media/{media}/", {"name": "mine"}),
        member.delete(f"media-links/{link}/"),
    ):
        assert (answer.status, answer.error["code"]) == (403, "permission_denied")
    assert member.get(f"media/{private}/").status == member.get(f"media/{media}/history/").status == 404
    own = a_file(stranger)
    assert member.post(f"media/{own}/links/", {"targetType": "course", "targetId": course}).status == 403

    live.post(f"courses/{course}/members/", {"username": "stan", "role": "editor"})
    _link(member, own, "course", course)
    assert member.operation(member.delete(f"media-links/{link}/"))["status"] == "succeeded"
    assert _count(media) == 0
    assert live.get(f"media/{media}/history/").data[0]["actorId"] == str(stranger.pk)


def test_who_lost_access_still_hears_what_blocks_but_not_its_titles(
    live: ApiClient, owner: User, stranger: User
) -> None:
    course = live.course("Secret")
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "editor"})
    member, media = ApiClient(stranger), a_file(stranger)
    link = _link(member, media, "course", course)
    live.delete(f"courses/{course}/members/{stranger.pk}/")

    (blocker,) = member.delete(f"media/{media}/").error["blockers"]
    assert (blocker["id"], blocker["title"], blocker["path"]) == (course, None, None)
    member.delete(f"media/{media}/?force=true")
    report = member.operation(member.post(f"media/{media}/restore/", {"restoreLinks": "all"}))["steps"][0]["data"]
    assert [(each["linkId"], each["result"]) for each in report["links"]] == [(link, "target_gone")]
