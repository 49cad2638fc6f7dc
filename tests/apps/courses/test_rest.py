"""Courses, chapters and videos over REST: one request, one event, one state."""

from collections.abc import Callable
from typing import Any

import pytest

from apps.accounts.models import User
from apps.courses import access
from apps.courses.models import Membership
from tests.support.api import ApiClient, events_of
from tests.support.threads import Running


def _last(course_id: str) -> dict:
    return events_of(course_id)[-1]


def test_a_course_is_created_and_told_to_its_topic_and_its_owner(live: ApiClient, owner: User) -> None:
    answer = live.post("courses/", {"title": "Python", "price": "19.9", "currency": "EUR"})
    id_ = answer.data["courseId"]

    assert answer.status == 202
    assert answer.body["immediate"] is True
    assert answer.headers["Operation-Location"] == f"/api/v1/operations/{answer.body['operationId']}/"
    course = live.get(f"courses/{id_}/").data
    assert course | {"title": "Python", "description": "", "price": "19.90", "currency": "EUR", "version": 1} == course
    assert course | {"role": "owner", "ownerId": str(owner.pk), "deletedAt": None} == course
    (on_course,), (on_user,) = events_of(id_), events_of(f"user:{owner.pk}")
    assert on_course["type"] == on_user["type"] == "course-create-complete"
    assert on_course["courseId"] == id_ and "userId" not in on_course
    assert on_user["userId"] == str(owner.pk) and "courseId" not in on_user
    assert on_user["data"]["courseId"] == id_
    assert on_course["operationId"] == on_user["operationId"] == answer.body["operationId"]


def test_a_courses_own_fields_change_and_null_is_a_value(live: ApiClient) -> None:
    id_ = live.course()
    live.patch(f"courses/{id_}/", {"description": "Long", "price": 5, "currency": "USD"})
    live.patch(f"courses/{id_}/", {"price": None})

    event = _last(id_)
    assert event["data"] == {"courseId": id_, "updates": {"price": None}, "version": 3}
    course = live.get(f"courses/{id_}/").data
    assert (course["description"], course["price"], course["currency"]) == ("Long", None, "USD")


def test_a_change_that_alters_nothing_keeps_the_version_and_still_sends_its_event(live: ApiClient) -> None:
    course = live.course()
    chapter = live.chapter(course, "Same")
    live.patch(f"chapters/{chapter}/", {"title": "Same"})

    assert _last(course)["data"] == {"chapterId": chapter, "newTitle": "Same", "updates": {}, "version": 1}
    assert live.get(f"chapters/{chapter}/").data["version"] == 1


def test_an_events_timestamp_is_the_rows_updated_at(live: ApiClient) -> None:
    course = live.course()
    chapter = live.chapter(course)
    live.patch(f"chapters/{chapter}/", {"title": "New"})

    from datetime import datetime

    shown = live.get(f"chapters/{chapter}/").data["updatedAt"]
    assert shown.endswith("Z")
    assert _last(course)["timestamp"] == round(datetime.fromisoformat(shown).timestamp() * 1000)


def test_chapters_take_their_positions_and_shift_their_siblings(live: ApiClient) -> None:
    course = live.course()
    first, second = live.chapter(course, "1"), live.chapter(course, "2")
    between = live.post(f"courses/{course}/chapters/", {"title": "1½", "position": 1, "tempId": "t"}).data["chapterId"]
    last = live.post(f"courses/{course}/chapters/", {"title": "9", "position": 99}).data["chapterId"]

    chapters = live.outline(course)["chapters"]
    assert [chapter["id"] for chapter in chapters] == [first, between, second, last]
    assert [chapter["position"] for chapter in chapters] == [0, 1, 2, 3]
    assert {chapter["version"] for chapter in chapters} == {1}
    assert events_of(course)[3]["data"] | {"tempId": "t", "position": 1} == events_of(course)[3]["data"]
    assert "tempId" not in events_of(course)[1]["data"]
    assert _last(course)["data"]["position"] == 3


def test_deleting_a_chapter_takes_its_videos_and_closes_the_gap(live: ApiClient) -> None:
    course = live.course()
    doomed, kept = live.chapter(course), live.chapter(course)
    video = live.video(doomed)
    live.delete(f"chapters/{doomed}/")

    assert _last(course)["data"] == {"chapterId": doomed}
    assert [c["id"] for c in live.outline(course)["chapters"]] == [kept]
    assert live.outline(course)["chapters"][0]["position"] == 0
    assert live.get(f"videos/{video}/").status == 404
    assert live.delete(f"chapters/{doomed}/").status == 404


def test_a_video_is_renamed_and_the_event_says_its_present_title_in_any_case(live: ApiClient) -> None:
    course = live.course()
    video = live.video(live.chapter(course), "Intro")
    live.patch(f"videos/{video}/", {"filename": "a.mp4"})

    assert _last(course)["data"] == {
        "videoId": video, "newTitle": "Intro", "updates": {"filename": "a.mp4"}, "version": 2,
    }  # fmt: skip


def test_a_video_moves_between_chapters_and_within_one(live: ApiClient) -> None:
    course = live.course()
    a, b = live.chapter(course), live.chapter(course)
    v1, v2, v3 = live.video(a), live.video(a), live.video(b)
    live.post(f"videos/{v1}/move/", {"chapterId": b, "position": 0})
    moved = _last(course)["data"]
    live.post(f"videos/{v3}/move/", {"chapterId": b, "position": 0})

    assert moved == {"videoId": v1, "fromChapterId": a, "toChapterId": b, "position": 0, "version": 2}
    chapters = live.outline(course)["chapters"]
    assert [[v["id"] for v in chapter["videos"]] for chapter in chapters] == [[v2], [v3, v1]]
    assert live.get(f"videos/{v2}/").data["position"] == 0


def test_moving_a_video_to_where_it_is_keeps_its_version(live: ApiClient) -> None:
    course = live.course()
    chapter = live.chapter(course)
    video = live.video(chapter)
    live.post(f"videos/{video}/move/", {"chapterId": chapter, "position": 5})

    assert _last(course)["data"]["version"] == 1


def test_a_video_cannot_leave_its_course(live: ApiClient) -> None:
    video = live.video(live.chapter(live.course()))
    elsewhere = live.chapter(live.course())

    assert live.post(f"videos/{video}/move/", {"chapterId": elsewhere}).error["code"] == "not_found"


def test_lists_are_reordered_whole_or_not_at_all(live: ApiClient) -> None:
    course = live.course()
    a, b = live.chapter(course), live.chapter(course)
    v, w = live.video(a), live.video(a)
    live.post(f"courses/{course}/chapters/reorder/", {"chapterIds": [b, a]})
    assert _last(course)["data"] == {"chapterIds": [b, a]}
    live.post(f"chapters/{a}/videos/reorder/", {"videoIds": [w, v]})
    assert _last(course)["data"] == {"chapterId": a, "videoIds": [w, v]}
    for wrong in ([a], [a, a], [a, b, a], [a, v], [a, "nonsense"], []):
        answer = live.post(f"courses/{course}/chapters/reorder/", {"chapterIds": wrong})
        assert (answer.status, answer.error["code"]) == (409, "conflict")

    assert [c["id"] for c in live.outline(course)["chapters"]] == [b, a]


def test_a_deleted_course_is_there_for_its_owner_alone_until_it_is_restored(live: ApiClient, stranger: User) -> None:
    course = live.course()
    chapter = live.chapter(course)
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "editor"})
    editor = ApiClient(stranger)
    live.delete(f"courses/{course}/")

    assert live.get(f"courses/{course}/").data["deletedAt"]
    assert live.get("courses/").data == []
    assert [c["id"] for c in live.get("courses/?deleted=true").data] == [course]
    assert editor.get(f"courses/{course}/").status == 404
    assert editor.get("courses/?deleted=true").data == []
    assert editor.patch(f"chapters/{chapter}/", {"title": "x"}).error["code"] == "gone"
    assert live.delete(f"courses/{course}/").status == 410
    assert live.post("realtime/tickets/", {"courseIds": [course]}).status == 200
    assert [event["type"] for event in events_of(f"user:{stranger.pk}")][-1] == "course-delete-complete"

    assert editor.post(f"courses/{course}/restore/").status == 403
    live.post(f"courses/{course}/restore/")
    assert editor.get(f"courses/{course}/").status == 200
    assert _last(course)["type"] == "course-restore-complete"
    assert [event["type"] for event in events_of(f"user:{stranger.pk}")][-1] == "course-restore-complete"


def test_members_come_and_go_and_hear_of_it(live: ApiClient, owner: User, stranger: User) -> None:
    course = live.course()
    guest = ApiClient(stranger)
    assert guest.get(f"courses/{course}/").status == 404
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "viewer"})

    assert guest.get(f"courses/{course}/").data["role"] == "viewer"
    assert [m["role"] for m in live.get(f"courses/{course}/members/").data] == ["owner", "viewer"]
    data = {"courseId": course, "userId": str(stranger.pk), "role": "viewer"}
    assert _last(course)["data"] == events_of(f"user:{stranger.pk}")[-1]["data"] == data
    assert events_of(f"user:{owner.pk}")[-1]["data"] == data

    assert guest.delete(f"courses/{course}/members/{stranger.pk}/").status == 202
    assert _last(course)["data"] == data | {"role": None}
    assert guest.get(f"courses/{course}/").status == 404
    (revoked,) = events_of(f"control:{stranger.pk}")
    assert revoked | {"type": "access-revoked", "topic": f"course:{course}", "userId": str(stranger.pk)} == revoked
    assert revoked["before"] > _last(course)["timestamp"] - 1


def test_the_owner_stays_and_only_the_owner_admits(live: ApiClient, owner: User, stranger: User) -> None:
    course = live.course()
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "editor"})
    editor = ApiClient(stranger)

    assert live.delete(f"courses/{course}/members/{owner.pk}/").status == 409
    assert live.post(f"courses/{course}/members/", {"username": "olga", "role": "viewer"}).status == 409
    assert editor.post(f"courses/{course}/members/", {"username": "stan", "role": "viewer"}).status == 403
    assert editor.delete(f"courses/{course}/members/{owner.pk}/").status == 403
    assert live.post(f"courses/{course}/members/", {"username": "nobody", "role": "viewer"}).status == 404


def test_viewers_see_and_strangers_do_not_and_neither_changes(live: ApiClient, stranger: User) -> None:
    course = live.course()
    chapter = live.chapter(course)
    video = live.video(chapter)
    guest = ApiClient(stranger)

    def attempts() -> set[int]:
        return {
            guest.patch(f"courses/{course}/", {"title": "x"}).status,
            guest.delete(f"courses/{course}/").status,
            guest.post(f"courses/{course}/chapters/", {"title": "x"}).status,
            guest.patch(f"chapters/{chapter}/", {"title": "x"}).status,
            guest.post(f"videos/{video}/move/", {"chapterId": chapter}).status,
            guest.delete(f"videos/{video}/").status,
            guest.post(f"courses/{course}/save/", {"changes": [{"action": "course.update", "title": "x"}]}).status,
        }

    assert attempts() == {404}
    assert guest.get(f"chapters/{chapter}/").status == guest.get(f"videos/{video}/").status == 404
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "viewer"})
    assert attempts() == {403}
    assert guest.get(f"chapters/{chapter}/").status == guest.get(f"videos/{video}/").status == 200


def test_a_role_lost_between_request_and_work_is_noticed_by_the_worker(api: ApiClient, stranger: User) -> None:
    from apps.operations import runner

    course = api.course()
    api.post(f"courses/{course}/members/", {"username": "stan", "role": "editor"})
    runner.run_lane(f"course:{course}")
    editor = ApiClient(stranger)
    api.delete(f"courses/{course}/members/{stranger.pk}/")
    late = editor.post(f"courses/{course}/chapters/", {"title": "too late"})
    runner.run_lane(f"course:{course}")

    assert editor.operation(late)["steps"][0]["error"]["code"] == "permission_denied"


def test_versions_are_checked_when_asked_and_when_done(api: ApiClient) -> None:
    from apps.operations import runner

    course = api.course()
    chapter = api.chapter(course)
    runner.run_lane(f"course:{course}")
    first = api.patch(f"chapters/{chapter}/", {"title": "A", "baseVersion": 1})
    second = api.patch(f"chapters/{chapter}/", {"title": "B", "baseVersion": 1})
    third = api.patch(f"chapters/{chapter}/", {"title": "C", "baseVersion": 2})
    runner.run_lane(f"course:{course}")

    assert [api.operation(answer)["status"] for answer in (first, second, third)] == [
        "succeeded",
        "failed",
        "succeeded",
    ]
    late = api.operation(second)["steps"][0]["error"]
    assert (late["code"], late["currentVersion"]) == ("version_conflict", 2)
    stale = api.patch(f"chapters/{chapter}/", {"title": "D", "baseVersion": 2})
    assert stale.status == 409
    assert stale.error | {"code": "version_conflict", "currentVersion": 3} == stale.error
    assert api.delete(f"chapters/{chapter}/", {"baseVersion": 9}).error["code"] == "version_conflict"


def test_ids_from_an_answer_may_be_used_at_once_by_their_user_alone(api: ApiClient, stranger: User) -> None:
    from apps.operations import runner

    course = api.course()
    chapter = api.chapter(course)
    video = api.video(chapter)
    assert api.patch(f"videos/{video}/", {"title": "named"}).status == 202
    assert api.post(f"videos/{video}/move/", {"chapterId": chapter, "position": 0}).status == 202
    assert api.post(f"chapters/{chapter}/videos/reorder/", {"videoIds": [video]}).status == 202
    assert api.get(f"courses/{course}/").status == api.get(f"videos/{video}/").status == 404
    assert api.post("realtime/tickets/", {"courseIds": [course]}).status == 404
    assert ApiClient(stranger).patch(f"chapters/{chapter}/", {"title": "mine"}).status == 404
    runner.run_lane(f"course:{course}")

    assert api.get(f"videos/{video}/").data["title"] == "named"


def test_an_id_from_an_answer_names_only_what_it_was_given_for(api: ApiClient) -> None:
    course = api.course()
    chapter = api.chapter(course)
    video = api.video(chapter)
    answers = [
        api.patch(f"courses/{chapter}/", {"title": "wrong"}),
        api.delete(f"courses/{video}/"),
        api.patch(f"chapters/{video}/", {"title": "wrong"}),
        api.post(f"chapters/{course}/videos/", {"title": "wrong"}),
        api.patch(f"videos/{course}/", {"title": "wrong"}),
        api.delete(f"videos/{chapter}/"),
        api.post(f"videos/{video}/move/", {"chapterId": video}),
    ]

    assert [answer.status for answer in answers] == [404] * 7


def test_the_outline_is_what_its_seq_says(live: ApiClient) -> None:
    course = live.course()
    live.video(live.chapter(course))

    outline = live.outline(course)
    assert outline["topic"] == f"course:{course}"
    assert outline["seq"] == len(events_of(course)) == 3
    assert outline["course"] == live.get(f"courses/{course}/").data
    assert outline["chapters"][0]["videos"][0] == live.get(f"videos/{outline['chapters'][0]['videos'][0]['id']}/").data


@pytest.mark.parametrize("lost", ["the membership", "the course"])
def test_who_loses_a_course_while_it_is_read_gets_it_as_it_was(
    live: ApiClient, stranger: User, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    course = live.course()
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "viewer"})
    path = f"courses/{course}/members/{stranger.pk}/" if lost == "the membership" else f"courses/{course}/"

    def readable(*asked: Any) -> Membership:
        monkeypatch.undo()
        found = access.readable(*asked)
        Running(lambda: live.delete(path)).result()
        return found

    monkeypatch.setattr(access, "readable", readable)
    outline = ApiClient(stranger).outline(course)
    assert (outline["course"]["role"], outline["course"]["deletedAt"], outline["seq"]) == ("viewer", None, 2)
    assert ApiClient(stranger).get(f"courses/{course}/outline/").status == 404


def test_courses_come_in_pages_that_neither_repeat_nor_skip(live: ApiClient) -> None:
    ids = [live.course(str(n)) for n in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = live.get(f"courses/?limit=2{f'&cursor={cursor}' if cursor else ''}").body
        seen += [course["id"] for course in page["data"]]
        cursor = page["next"]
        live.course("comes meanwhile")

    assert seen == ids[::-1]


def test_a_repeated_request_with_another_expect_is_another_request(live: ApiClient) -> None:
    course = live.course()
    body = {"title": "C", "operationId": "op", "expect": 2}
    first = live.post(f"courses/{course}/chapters/", body)

    assert live.post(f"courses/{course}/chapters/", body).body == first.body
    by_header = live.post(f"courses/{course}/chapters/", {"title": "C"}, Operation_Id="op", Operation_Expect="2")
    assert by_header.body == first.body
    for other in ({**body, "expect": 3}, {"title": "C", "operationId": "op"}):
        assert live.post(f"courses/{course}/chapters/", other).error["code"] == "idempotency_mismatch"


def test_deleting_a_course_and_reordering_lists_heed_versions_too(live: ApiClient) -> None:
    course = live.course()
    chapter = live.chapter(course)
    stale = [
        live.delete(f"courses/{course}/", {"baseVersion": 9}),
        live.post(f"courses/{course}/chapters/reorder/", {"chapterIds": [chapter], "baseVersion": 9}),
        live.post(f"chapters/{chapter}/videos/reorder/", {"videoIds": [], "baseVersion": 9}),
    ]
    changes = [
        {"action": "chapter.reorder", "chapterIds": [chapter], "baseVersion": 9},
        {"action": "video.reorder", "chapterId": chapter, "videoIds": [], "baseVersion": 9},
        {"action": "chapter.reorder", "chapterIds": [chapter], "baseVersion": 1},
    ]
    save = live.post(f"courses/{course}/save/", {"changes": changes})

    assert [answer.error["code"] for answer in stale] == ["version_conflict"] * 3
    assert [step["status"] for step in live.operation(save)["steps"]] == ["failed", "failed", "succeeded"]
    assert live.delete(f"courses/{course}/", {"baseVersion": 1}).status == 202


def test_an_edit_of_nothing_is_an_edit(live: ApiClient) -> None:
    course = live.course()
    chapter = live.chapter(course, "Same")
    video = live.video(chapter, "Same, too")
    paths = (f"courses/{course}/", f"chapters/{chapter}/", f"videos/{video}/")
    assert [live.patch(path, {}).status for path in paths] == [202] * 3

    assert [live.get(path).data["version"] for path in paths] == [1] * 3
    assert [event["type"] for event in events_of(course)][-3:] == [
        "course-update-complete",
        "chapter-update-complete",
        "video-update-complete",
    ]


def test_ids_may_be_written_in_capital_letters_everywhere(live: ApiClient) -> None:
    course = live.course()
    chapter = live.chapter(course)
    video = live.video(chapter)
    home, place, item = (id_.upper() for id_ in (course, chapter, video))
    answers = [
        live.get(f"courses/{home}/outline/"),
        live.post("realtime/tickets/", {"courseIds": [home]}),
        live.get(f"media-links/?targetType=course&targetId={home}"),
        live.post(f"videos/{item}/move/", {"chapterId": place}),
        live.post(f"chapters/{place}/videos/reorder/", {"videoIds": [item]}),
        live.post(
            f"courses/{home}/save/", {"changes": [{"action": "video.move", "videoId": item, "chapterId": place}]}
        ),
        live.post(f"chapters/{place}/videos/", {"title": "V"}),
    ]

    assert [answer.status for answer in answers] == [200] * 3 + [202] * 4
    assert {live.operation(answer)["status"] for answer in answers[3:]} == {"succeeded"}


@pytest.mark.parametrize(
    "other_form",
    [
        lambda id_: f"{{{id_}}}",
        lambda id_: f"urn:uuid:{id_}",
        lambda id_: id_.replace("-", ""),
        lambda id_: f"urn:{id_.replace('-', '')}",
        lambda id_: f"{id_[:8]}{id_[9:]}-",
    ],
    ids=["braces", "a URN", "no hyphens", "half a URN", "other hyphens"],
)
def test_ids_have_all_of_their_hyphens_and_nothing_else(live: ApiClient, other_form: Callable[[str], str]) -> None:
    course = live.course()
    chapter = live.chapter(course)
    video = live.video(chapter)
    home, place, item = (other_form(id_) for id_ in (course, chapter, video))
    refused = [
        live.get(f"chapters/{place}/"),
        live.post(f"chapters/{place}/videos/", {"title": "V"}),
        live.post(f"videos/{video}/move/", {"chapterId": place}),
        live.post(f"chapters/{chapter}/videos/reorder/", {"videoIds": [item]}),
        live.post(f"courses/{course}/save/", {"changes": [{"action": "video.delete", "videoId": item}]}),
        live.post("realtime/tickets/", {"courseIds": [home]}),
    ]

    assert [answer.status for answer in refused] == [404, 404, 404, 409, 400, 400]
