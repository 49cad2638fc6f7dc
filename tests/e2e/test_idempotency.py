"""A request that is sent again: the first answer, and no second effect."""

import json
from concurrent.futures import ThreadPoolExecutor

from demo.client import Answer, Api, Json
from tests.support.stack import Audience, Course, refusal

CHAPTER = {"title": "Once", "tempId": "once"}


def test_the_same_request_again_gives_the_first_answer(course: Course, owner: Api, audience: Audience) -> None:
    first = owner.post(f"{course.path}chapters/", CHAPTER, Operation_Id="click")
    again = owner.post(f"{course.path}chapters/", CHAPTER, Operation_Id="click")
    operation = owner.done(first)
    after_the_end = owner.post(f"{course.path}chapters/", CHAPTER, Operation_Id="click")

    assert (first.status, first.body) == (again.status, again.body) == (after_the_end.status, after_the_end.body)
    assert after_the_end.headers["Operation-Location"] == first.headers["Operation-Location"]
    (event,) = audience.hears(operation)
    assert event["data"]["chapterId"] == first.data["chapterId"]
    assert owner.get("operations/click/").data == operation


def test_bodies_are_compared_after_parsing(course: Course, owner: Api) -> None:
    path = f"{course.path}chapters/"
    first = owner.post(path, CHAPTER, Operation_Id="parsed")
    spaced = json.dumps(dict(reversed(CHAPTER.items())), indent=4).encode()
    again = owner.request("POST", path, spaced, {"Operation-Id": "parsed"})
    named_in_body = owner.post(path, {**CHAPTER, "operationId": "parsed", "stepId": "1"})

    assert first.body == again.body == named_in_body.body


def test_another_body_under_the_same_key(course: Course, owner: Api) -> None:
    before = owner.done(owner.post(f"{course.path}chapters/", CHAPTER, Operation_Id="fixed"))
    other_body = owner.post(f"{course.path}chapters/", {"title": "Other"}, Operation_Id="fixed")
    other_path = owner.patch(course.path, {"title": "Once"}, Operation_Id="fixed")

    assert refusal(other_body) == refusal(other_path) == (422, "idempotency_mismatch")
    assert owner.get("operations/fixed/").data == before


def test_a_save_again_does_its_changes_once(course: Course, owner: Api, audience: Audience) -> None:
    changes = [{"action": "chapter.create", "tempId": "c", "title": "One"}, {"action": "course.update", "title": "T"}]
    answers = [course.save(owner, *changes, operationId="saved-once") for _ in range(3)]

    assert answers[0].body == answers[1].body == answers[2].body
    events = audience.hears(owner.done(answers[0]))
    types = ["chapter-create-complete", "course-update-complete", "batch-operation-complete"]
    assert [event["type"] for event in events] == types


def test_many_at_once_with_the_same_key_have_one_effect(course: Course, owner: Api, audience: Audience) -> None:
    changes = [{"action": "chapter.create", "tempId": "c", "title": "One"}]

    def save(user: Api) -> Answer:
        return course.save(user, *changes, operationId="stampede")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(save, [owner.again() for _ in range(48)]))

    assert {answer.status for answer in answers} == {202}
    assert all(answer.body == answers[0].body for answer in answers)
    events = audience.hears(owner.done(answers[0]))
    assert [event["type"] for event in events] == ["chapter-create-complete", "batch-operation-complete"]


def test_many_at_once_that_their_own_first_makes_stale_have_one_effect(
    course: Course, owner: Api, audience: Audience
) -> None:
    video, chapter = course.videos[0][0], course.chapters[1]
    requests: list[tuple[str, str, Json]] = [
        ("DELETE", f"videos/{video}/", {"operationId": "delete"}),
        ("PATCH", f"chapters/{chapter}/", {"operationId": "rename", "title": "New", "baseVersion": 1}),
    ]
    for request in requests:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda user, said=request: user.request(*said), [owner.again() for _ in range(48)]))
        assert {answer.status for answer in answers} == {202}
        assert all(answer.body == answers[0].body for answer in answers)

    events = audience.hears(owner.wait("delete"), owner.wait("rename"))
    assert [event["type"] for event in events] == ["video-delete-complete", "chapter-update-complete"]


def test_of_many_at_once_with_the_same_key_and_other_bodies_one_is_taken(
    course: Course, owner: Api, audience: Audience
) -> None:
    def rename(n: int) -> Answer:
        return owner.again().patch(course.path, {"title": f"{n}"}, Operation_Id="race")

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(rename, range(24)))

    taken = [answer for answer in answers if answer.status == 202]
    assert len(taken) == 1
    assert {refusal(answer) for answer in answers if answer.status != 202} == {(422, "idempotency_mismatch")}
    (event,) = audience.hears(owner.done(taken[0]))
    assert event["data"]["updates"]["title"] == f"{answers.index(taken[0])}"


def test_many_requests_of_one_operation_at_once_end_it_once(course: Course, owner: Api, audience: Audience) -> None:
    def create(n: int) -> Answer:
        body: Json = {"title": f"{n}", "operationId": "together", "expect": 30, "stepId": f"step-{n}"}
        return owner.again().post(f"{course.path}chapters/", body)

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(create, [n for n in range(30) for _ in range(2)]))

    assert {answer.status for answer in answers} == {202}
    operation = owner.done(answers[0])
    *created, end = audience.hears(operation)
    assert sorted(int(event["data"]["title"]) for event in created) == list(range(30))
    assert (end["type"], end["data"]["succeeded"], operation["succeeded"]) == ("batch-operation-complete", 30, 30)


def test_a_refused_request_leaves_no_key_behind(course: Course, owner: Api) -> None:
    path = f"chapters/{course.chapters[0]}/"
    stale = owner.patch(path, {"title": "x", "baseVersion": 9}, Operation_Id="again")
    invalid = owner.patch(path, {"title": ""}, Operation_Id="again")
    assert [refusal(stale)[0], refusal(invalid)[0]] == [409, 400]
    assert owner.get("operations/again/").status == 404

    owner.done(owner.patch(path, {"title": "x", "baseVersion": 1}, Operation_Id="again"))


def test_a_key_alone_is_enough_for_what_it_is_elsewhere(course: Course, owner: Api) -> None:
    answers = [owner.post(f"{course.path}chapters/", CHAPTER, Idempotency_Key="alone") for _ in range(2)]

    assert answers[0].body == answers[1].body
    owner.done(answers[0])
    assert len(course.read(owner)["chapters"]) == 3


def test_a_retry_again_is_one_retry(course: Course, owner: Api) -> None:
    missing = {"action": "chapter.update", "chapterId": course.id, "title": "x"}
    failed = owner.wait(course.save(owner, missing).operation_id)["operationId"]
    answers = [owner.post(f"operations/{failed}/retry/", {"operationId": "second-try"}) for _ in range(2)]

    assert answers[0].body == answers[1].body and answers[0].operation_id == "second-try"
    assert owner.wait("second-try")["status"] == "failed"


def test_a_step_id_used_before_by_another_request_of_the_operation(course: Course, owner: Api) -> None:
    change = {"action": "course.update", "title": "x", "stepId": "mine"}
    first = course.save(owner, change, operationId="steps", expect=2, stepId="a")
    second = course.save(owner, change, operationId="steps", expect=2, stepId="b")

    assert first.status == 202 and refusal(second)[0] == 422
    last = course.save(owner, {**change, "stepId": "other"}, operationId="steps", expect=2, stepId="b")
    assert owner.done(last)["succeeded"] == 2
