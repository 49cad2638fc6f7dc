"""Operations: one user intention of one or many requests, with one end."""

from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from demo.client import Api, Json
from tests.support.stack import Audience, Course, Site, refusal, said


def ends(events: list[Json], operation_id: str) -> list[Json]:
    """The completions of an operation."""
    named = [event for event in events if event["operationId"] == operation_id]
    return [event for event in named if event["type"] == "batch-operation-complete"]


def test_several_requests_share_an_operation_that_ends_once_after_the_last(
    course: Course, owner: Api, audience: Audience
) -> None:
    renamed = owner.patch(
        f"chapters/{course.chapters[0]}/", {"title": "A", "operationId": "click-1", "expect": 4, "stepId": "rename"}
    )
    saved = owner.post(
        f"{course.path}save/",
        {"changes": [{"action": "chapter.create", "title": t} for t in "BC"], "stepId": "save"},
        Operation_Id="click-1",
        Operation_Expect="4",
    )
    audience.tabs[0].wait_for_seq(course.topic, audience.before["seq"] + 3)
    halfway = owner.get("operations/click-1/").data
    last = owner.delete(f"videos/{course.videos[0][0]}/", None, Operation_Id="click-1", Idempotency_Key="delete")

    assert {answer.operation_id for answer in (renamed, saved, last)} == {"click-1"}
    assert (halfway["status"], halfway["finishedAt"], halfway["expected"]) == ("running", None, 4)
    assert halfway["progress"] == 75 and halfway["seq"] is None
    operation = owner.wait("click-1")
    events = audience.hears(operation)
    (end,) = ends(events, "click-1")
    assert end is events[-1] and end["seq"] == operation["seq"]
    steps = ["rename", "save.0", "save.1", "delete"]
    assert [result["stepId"] for result in end["data"]["results"]] == steps
    assert [step["stepId"] for step in operation["steps"]] == steps
    assert (end["data"]["status"], operation["progress"]) == ("succeeded", 100)


def test_a_single_request_has_no_batch_event_and_a_save_of_one_change_has(
    course: Course, owner: Api, audience: Audience
) -> None:
    single = owner.done(owner.patch(course.path, {"title": "One"}))
    save = owner.done(course.save(owner, {"action": "course.update", "title": "Two"}))

    assert [event["type"] for event in audience.hears(single, save)] == [
        "course-update-complete",
        "course-update-complete",
        "batch-operation-complete",
    ]


def test_the_end_of_many_steps_names_only_those_that_failed(course: Course, owner: Api, audience: Audience) -> None:
    changes = [{"action": "chapter.create", "title": f"{n}"} for n in range(60)]
    changes.insert(30, {"action": "video.update", "videoId": course.id, "title": "No such video", "stepId": "bad"})
    operation = owner.wait(course.save(owner, *changes).operation_id)

    end = audience.hears(operation)[-1]
    assert (end["data"]["status"], end["data"]["succeeded"], end["data"]["failed"]) == ("partial", 60, 1)
    assert end["data"]["truncated"] is True
    assert [(result["stepId"], result["error"]["code"]) for result in end["data"]["results"]] == [("bad", "not_found")]


def test_more_steps_than_expected_are_refused_and_nothing_of_them_is_taken(
    course: Course, owner: Api, audience: Audience
) -> None:
    headers = {"Operation_Id": "two", "Operation_Expect": "2"}
    owner.patch(course.path, {"title": "First"}, **headers)
    too_many = course.save(
        owner,
        *({"action": "course.update", "title": title} for title in ("Second", "Third")),
        operationId="two",
        stepId="2",
    )
    whole = course.save(owner, *({"action": "course.update", "title": "No"} for _ in range(3)), expect=2)
    second = owner.patch(course.path, {"title": "Second"}, **headers, Idempotency_Key="2")

    assert refusal(too_many) == refusal(whole) == (409, "conflict")
    operation = owner.done(second)
    titles = [event["data"]["updates"]["title"] for event in audience.hears(operation)[:-1]]
    assert titles == ["First", "Second"] and operation["succeeded"] == 2


def test_requests_that_differ_in_what_they_expect(course: Course, owner: Api) -> None:
    owner.patch(course.path, {"title": "First"}, Operation_Id="sum", Operation_Expect="2")
    refused = owner.patch(course.path, {"title": "x"}, Operation_Id="sum", Operation_Expect="3", Idempotency_Key="2")

    assert refusal(refused) == (422, "idempotency_mismatch")
    taken = owner.patch(course.path, {"title": "y"}, Operation_Id="sum", Operation_Expect="2", Idempotency_Key="2")
    assert owner.done(taken)["succeeded"] == 2


def test_an_ended_operation_takes_nothing_and_never_changes(course: Course, owner: Api) -> None:
    ended = owner.done(owner.patch(course.path, {"title": "Done"}, Operation_Id="over"))
    late = owner.patch(course.path, {"title": "Late"}, Operation_Id="over", Idempotency_Key="2")

    assert refusal(late) == (409, "conflict")
    assert owner.get("operations/over/").data == ended
    assert owner.get(course.path).data["title"] == "Done"


def test_temp_ids_hold_for_later_requests_of_the_same_operation_only(
    course: Course, owner: Api, audience: Audience
) -> None:
    chapter = owner.post(
        f"{course.path}chapters/", {"title": "New", "tempId": "c"}, Operation_Id="spread", Operation_Expect="4"
    )
    video = owner.post("chapters/c/videos/", {"title": "In it"}, Operation_Id="spread", Idempotency_Key="2")
    moved = owner.post(
        f"videos/{course.videos[0][0]}/move/", {"chapterId": "c"}, Operation_Id="spread", Idempotency_Key="3"
    )
    elsewhere = owner.post("chapters/c/videos/", {"title": "No"}, Operation_Id="other")
    saved = course.save(
        owner, {"action": "chapter.update", "chapterId": "c", "title": "Newer"}, operationId="spread", stepId="4"
    )

    assert refusal(elsewhere) == (404, "not_found")
    assert {answer.status for answer in (video, moved, saved)} == {202}
    audience.hears(owner.done(chapter))
    read = course.read(owner)["chapters"][-1]
    assert (read["id"], read["title"]) == (chapter.data["chapterId"], "Newer")
    assert [v["id"] for v in read["videos"]] == [video.data["videoId"], course.videos[2][1]]
    assert course.videos[2][1] == audience.before["chapters"][0]["videos"][0]["id"]


def test_an_id_from_a_202_may_be_used_at_once(course: Course, owner: Api, site: Site, audience: Audience) -> None:
    with site.paused():
        chapter = owner.post(f"{course.path}chapters/", {"title": "New"}).data["chapterId"]
        video = owner.post(f"chapters/{chapter}/videos/", {"title": "Video"}).data["videoId"]
        answers = [
            owner.patch(f"chapters/{chapter}/", {"title": "Renamed"}),
            owner.patch(f"videos/{video}/", {"title": "Renamed too"}),
            owner.post(f"videos/{video}/move/", {"chapterId": course.chapters[0], "position": 0}),
            owner.post(f"videos/{course.videos[0][0]}/move/", {"chapterId": chapter}),
            owner.post(f"{course.path}chapters/reorder/", {"chapterIds": [chapter, *course.chapters]}),
        ]
        assert [owner.get(path).status for path in (f"chapters/{chapter}/", f"videos/{video}/")] == [404, 404]

    audience.hears(*(owner.done(answer) for answer in answers))
    assert course.read(owner)["chapters"][0]["title"] == "Renamed"


def test_a_course_that_is_still_being_made_can_be_filled(owner: Api, editor: Api, site: Site) -> None:
    with site.paused():
        course = Course(owner.post("courses/", {"title": "New"}).data["courseId"])
        answers = [
            owner.post(f"{course.path}chapters/", {"title": "First"}),
            course.save(owner, {"action": "chapter.create", "title": "Second"}),
            owner.patch(course.path, {"title": "Newer"}),
            owner.post(f"{course.path}members/", {"username": editor.user["username"], "role": "editor"}),
        ]
        assert owner.get(course.path).status == 404
        assert refusal(owner.post("realtime/tickets/", {"courseIds": [course.id]})) == (404, "not_found")
        assert refusal(editor.post(f"{course.path}chapters/", {"title": "No"})) == (404, "not_found")

    for answer in answers:
        owner.done(answer)
    assert [row["title"] for row in course.read(editor)["chapters"]] == ["First", "Second"]


def test_what_two_people_asked_for_takes_effect_in_the_order_of_the_answers(
    course: Course, owner: Api, editor: Api, site: Site, audience: Audience
) -> None:
    people, path = [owner, editor] * 5, f"chapters/{course.chapters[0]}/"
    with site.paused():
        answers = [(person, person.patch(path, {"title": f"{n}"})) for n, person in enumerate(people)]

    events = audience.hears(*(person.done(answer) for person, answer in answers))
    assert [event["data"]["newTitle"] for event in events] == [f"{n}" for n in range(10)]
    assert [event["operationId"] for event in events] == [answer.operation_id for _, answer in answers]


def test_waiting_answers_as_soon_as_the_operation_ends(course: Course, owner: Api, site: Site) -> None:
    with ThreadPoolExecutor() as pool, site.paused():
        operation_id = owner.patch(course.path, {"title": "Slow"}).operation_id
        early = owner.get(f"operations/{operation_id}/?wait=0.3")
        waiting = pool.submit(owner.again().get, f"operations/{operation_id}/?wait=20")
        assert owner.get(f"operations/{operation_id}/").data["status"] == "pending"

    assert early.data["finishedAt"] is None and 0.3 <= early.seconds < 3
    assert waiting.result().data["status"] == "succeeded"
    assert waiting.result().seconds < 10


def test_when_too_many_wait_the_next_are_answered_at_once(course: Course, owner: Api, site: Site) -> None:
    with ThreadPoolExecutor(20) as pool, site.paused():
        path = f"operations/{owner.patch(course.path, {'title': 'Slow'}).operation_id}/?wait=20"
        crowd = [pool.submit(owner.again().get, path) for _ in range(20)]
        early = next(as_completed(crowd, timeout=5)).result()
        assert owner.get("auth/me/").seconds < 1

    assert early.data["status"] == "pending" and early.seconds < 5
    assert [one.result().data["status"] for one in crowd].count("succeeded") >= 1
    assert max(one.result().seconds for one in crowd) < 15


@pytest.mark.parametrize("wait", ["26", "-1", "soon", "nan", "inf"])
def test_waiting_for_other_than_a_number_of_seconds(owner: Api, course: Course, wait: str) -> None:
    operation_id = owner.patch(course.path, {"title": "x"}).operation_id
    assert refusal(owner.get(f"operations/{operation_id}/?wait={wait}")) == (400, "validation_error")


def test_cancelling_ends_what_has_not_begun(course: Course, owner: Api, site: Site, audience: Audience) -> None:
    changes = [{"action": "chapter.update", "chapterId": chapter, "title": "x"} for chapter in course.chapters]
    with site.paused():
        answer = course.save(owner, *changes)
        cancelled = owner.post(f"operations/{answer.operation_id}/cancel/")
        assert cancelled.operation_id == answer.operation_id
        assert refusal(owner.post(f"operations/{answer.operation_id}/cancel/")) == (409, "conflict")

    operation = owner.get(f"operations/{answer.operation_id}/").data
    assert (operation["status"], operation["succeeded"], operation["failed"]) == ("cancelled", 0, 2)
    assert {(step["status"], step["error"]["code"]) for step in operation["steps"]} == {("failed", "cancelled")}
    after = owner.done(owner.patch(course.path, {"title": "Went on"}))
    end, _ = audience.hears(after)
    assert (end["type"], end["data"]["status"]) == ("batch-operation-complete", "cancelled")
    assert refusal(owner.patch(course.path, {"title": "x"}, Operation_Id=answer.operation_id)) == (
        422,
        "idempotency_mismatch",
    )


def test_cancelling_what_waits_for_more_requests(course: Course, owner: Api, audience: Audience) -> None:
    first = owner.patch(course.path, {"title": "Stays"}, Operation_Id="partly", Operation_Expect="3")
    audience.tabs[0].wait_for_event("course-update-complete", first.operation_id)
    owner.post("operations/partly/cancel/")

    operation = owner.get("operations/partly/").data
    assert (operation["status"], operation["succeeded"], operation["failed"]) == ("cancelled", 1, 2)
    assert said(audience.hears(operation)[-1])[1]["status"] == "cancelled"
    assert refusal(owner.patch(course.path, {"title": "x"}, Operation_Id="partly", Idempotency_Key="2")) == (
        409,
        "conflict",
    )


def test_retrying_does_the_failed_steps_again_under_a_new_operation(
    course: Course, owner: Api, audience: Audience
) -> None:
    third = owner.done(owner.post(f"{course.path}chapters/", {"title": "Third"}))["steps"][0]["data"]["chapterId"]
    wanted = course.chapters[::-1]
    failed = owner.wait(
        course.save(
            owner,
            {"action": "course.update", "title": "Worked"},
            {"action": "chapter.reorder", "chapterIds": wanted, "stepId": "order"},
        ).operation_id
    )
    assert (failed["status"], failed["steps"][1]["error"]["code"]) == ("partial", "conflict")
    owner.done(owner.delete(f"chapters/{third}/"))

    answer = owner.post(f"operations/{failed['operationId']}/retry/")
    assert answer.data == {"retryOf": failed["operationId"]} and answer.operation_id != failed["operationId"]
    operation = owner.done(answer)
    assert [(step["stepId"], step["status"]) for step in operation["steps"]] == [("order", "succeeded")]
    events = audience.hears(operation)
    assert [event["type"] for event in events[-2:]] == ["chapter-reorder-complete", "batch-operation-complete"]
    assert owner.get(f"operations/{failed['operationId']}/").data == failed
    assert [row["id"] for row in course.read(owner)["chapters"]] == wanted


def test_there_is_nothing_to_retry(course: Course, owner: Api, site: Site) -> None:
    worked = owner.done(owner.patch(course.path, {"title": "x"}))["operationId"]
    with site.paused():
        running = owner.patch(course.path, {"title": "y"}).operation_id
        assert refusal(owner.post(f"operations/{running}/retry/")) == (409, "conflict")

    assert refusal(owner.post(f"operations/{worked}/retry/")) == (409, "conflict")
    assert refusal(owner.post("operations/never-was/retry/")) == (404, "not_found")
    assert refusal(owner.get("operations/never-was/")) == (404, "not_found")


def test_the_servers_own_operation_ids_differ(course: Course, owner: Api) -> None:
    ids = {owner.patch(course.path, {"title": "x"}).operation_id for _ in range(5)}
    assert len(ids) == 5
