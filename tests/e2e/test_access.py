"""Who may do and hear what."""

import time

import pytest

from demo.client import Api, Json, Listener
from tests.support.stack import Audience, Cast, Course, Listen, Site, refusal, wait_for_own


def mutations(course: Course) -> list[tuple[str, str, Json]]:
    """Every way to change a course's content."""
    chapter, video = course.chapters[0], course.videos[0][0]
    return [
        ("PATCH", course.path, {"title": "Mine"}),
        ("POST", f"{course.path}chapters/", {"title": "Mine"}),
        ("POST", f"{course.path}chapters/reorder/", {"chapterIds": course.chapters[::-1]}),
        ("POST", f"{course.path}save/", {"changes": [{"action": "chapter.delete", "chapterId": chapter}]}),
        ("PATCH", f"chapters/{chapter}/", {"title": "Mine"}),
        ("DELETE", f"chapters/{chapter}/", {}),
        ("POST", f"chapters/{chapter}/videos/", {"title": "Mine"}),
        ("POST", f"chapters/{chapter}/videos/reorder/", {"videoIds": course.videos[0][::-1]}),
        ("PATCH", f"videos/{video}/", {"title": "Mine"}),
        ("POST", f"videos/{video}/move/", {"chapterId": course.chapters[1]}),
        ("DELETE", f"videos/{video}/", {}),
    ]


def owners_mutations(course: Course, member: Api) -> list[tuple[str, str, Json]]:
    """What only the owner may do."""
    return [
        ("POST", f"{course.path}members/", {"username": member.user["username"], "role": "editor"}),
        ("DELETE", f"{course.path}members/{member.user['id']}/", {}),
        ("POST", f"{course.path}restore/", {}),
        ("DELETE", course.path, {}),
    ]


def reads(course: Course) -> list[str]:
    """Every way to read a course."""
    inside = [f"chapters/{course.chapters[0]}/", f"videos/{course.videos[0][0]}/"]
    return [course.path, f"{course.path}outline/", f"{course.path}members/", f"topics/{course.topic}/events/", *inside]


def test_a_viewer_reads_everything_and_changes_nothing(course: Course, owner: Api, editor: Api, viewer: Api) -> None:
    before = course.read(owner)
    refused = [viewer.request(*mutation) for mutation in [*mutations(course), *owners_mutations(course, editor)]]

    assert {refusal(answer) for answer in refused} == {(403, "permission_denied")}
    assert {viewer.get(path).status for path in reads(course)} == {200}
    assert viewer.get(course.path).data["role"] == "viewer"
    assert course.read(owner) == before


def test_an_editor_changes_the_content_and_nothing_else(course: Course, owner: Api, editor: Api, viewer: Api) -> None:
    before = course.read(owner)
    refused = [editor.request(*mutation) for mutation in owners_mutations(course, viewer)]

    assert {refusal(answer) for answer in refused} == {(403, "permission_denied")}
    assert course.read(owner) == before
    renames = [mutation for mutation in mutations(course) if mutation[0] == "PATCH"]
    for method, path, body in renames:
        editor.done(editor.request(method, path, body))
    assert [row["title"] for row in course.read(owner)["chapters"]] == ["Mine", "Chapter 1"]


def test_for_a_stranger_there_is_nothing(course: Course, owner: Api, editor: Api, stranger: Api) -> None:
    before = course.read(owner)
    refused = [stranger.request(*mutation) for mutation in [*mutations(course), *owners_mutations(course, editor)]]
    refused += [stranger.get(path) for path in reads(course)]
    refused += [stranger.post("realtime/tickets/", {"courseIds": [course.id]})]

    assert {refusal(answer) for answer in refused} == {(404, "not_found")}
    assert course.id not in [row["id"] for row in stranger.get("courses/").data]
    assert course.read(owner) == before


def test_nobody_without_a_token_gets_anywhere(site: Site, course: Course) -> None:
    nobody = site.anonymous()
    answers = [nobody.request(*mutation) for mutation in mutations(course)]
    answers += [nobody.get(path) for path in (*reads(course), "courses/", "operations/", "auth/me/")]
    answers += [nobody.post("realtime/tickets/", {"courseIds": []}), nobody.post("courses/", {"title": "Mine"})]

    assert {refusal(answer) for answer in answers} == {(401, "not_authenticated")}
    assert {Api(site.stack.api_url, "forged").get("auth/me/").status} == {401}


def test_an_operation_is_its_submitters_alone(course: Course, owner: Api, editor: Api) -> None:
    answer = owner.patch(course.path, {"title": "Mine"})
    path = f"operations/{answer.operation_id}/"

    assert refusal(editor.get(path)) == (404, "not_found")
    assert refusal(editor.post(f"{path}cancel/")) == (404, "not_found")
    assert refusal(editor.post(f"{path}retry/")) == (404, "not_found")
    assert answer.operation_id not in [row["operationId"] for row in editor.get("operations/").data]


def test_two_users_may_use_the_same_operation_id(course: Course, owner: Api, editor: Api) -> None:
    answers = [user.patch(course.path, {"title": "Same"}, Operation_Id="save-1") for user in (owner, editor)]

    assert [answer.operation_id for answer in answers] == ["save-1", "save-1"]
    assert all(user.done(answer) for user, answer in zip((owner, editor), answers, strict=True))


def test_one_foreign_course_refuses_the_whole_ticket(course: Course, site: Site, cast: Cast) -> None:
    other = site.new_course(cast, chapters=0)
    cast.owner.done(cast.owner.delete(f"{other.path}members/{cast.viewer.user['id']}/"))

    assert refusal(cast.viewer.post("realtime/tickets/", {"courseIds": [course.id, other.id]})) == (404, "not_found")
    assert cast.viewer.ticket(course.id)["topics"] == [f"user:{cast.viewer.user['id']}", course.topic]


def test_a_subscription_needs_a_ticket_for_it(course: Course, stranger: Api, viewer: Api, listen: Listen) -> None:
    tab = listen(stranger)
    tab.send({"type": "subscribe", "topic": course.topic})
    assert tab.wait_for(lambda f: f["type"] == "error")["topic"] == course.topic
    # Somebody else's ticket does not help.
    seen = len(tab.log.received)
    tab.send({"type": "subscribe", "topic": course.topic, "ticket": viewer.ticket(course.id)["ticket"]})
    tab.wait_for(lambda f: f["type"] == "error", start=seen)
    tab.send({"type": "subscribe", "topic": f"user:{viewer.user['id']}"})
    assert tab.wait_for(lambda f: f["type"] == "error" and f.get("topic") == f"user:{viewer.user['id']}")
    assert not any(f.frame["type"] == "subscribed" and f.frame["topic"] == course.topic for f in tab.log.received)


def test_a_new_member_hears_of_it_and_may_subscribe_with_a_new_ticket(
    course: Course, owner: Api, stranger: Api, listen: Listen
) -> None:
    tab, owners = listen(stranger), listen(owner, course)
    answer = owner.post(f"{course.path}members/", {"username": stranger.user["username"], "role": "viewer"})

    told = {"courseId": course.id, "userId": stranger.user["id"], "role": "viewer"}
    assert answer.data == {"courseId": course.id, "userId": stranger.user["id"]}
    event = wait_for_own(tab, stranger, "course-member-update-complete", answer.operation_id)
    assert (event["userId"], event["data"]) == (stranger.user["id"], told)
    assert wait_for_own(owners, owner, event["type"], answer.operation_id)["data"] == told
    owners.wait_for(lambda f: f["type"] == event["type"] and f.get("courseId") == course.id and f["data"] == told)
    ticket = stranger.ticket(course.id)["ticket"]
    tab.send({"type": "subscribe", "topic": course.topic, "ticket": ticket})
    tab.wait_for(lambda f: f["type"] == "subscribed" and f["topic"] == course.topic)


def test_members_are_listed_and_change_roles(course: Course, owner: Api, editor: Api, viewer: Api) -> None:
    people = [(owner, "owner"), (editor, "editor"), (viewer, "viewer")]
    rows = [{"userId": p.user["id"], "username": p.user["username"], "role": role} for p, role in people]
    assert viewer.get(f"{course.path}members/").data == rows

    course.give_access(owner, viewer, "editor")
    assert viewer.get(course.path).data["role"] == "editor"
    viewer.done(viewer.patch(course.path, {"title": "By a former viewer"}))
    course.give_access(owner, viewer, "viewer")
    assert viewer.patch(course.path, {"title": "Once more"}).status == 403


def test_the_owner_can_neither_be_removed_nor_get_another_role(course: Course, owner: Api) -> None:
    removed = owner.delete(f"{course.path}members/{owner.user['id']}/")
    demoted = owner.post(f"{course.path}members/", {"username": owner.user["username"], "role": "viewer"})

    assert refusal(removed) == refusal(demoted) == (409, "conflict")


@pytest.fixture
def withdrawn(course: Course, cast: Cast, site: Site, listen: Listen) -> "Withdrawn":
    """The viewer loses one of two courses that they listen to."""
    return Withdrawn(course, site.new_course(cast, chapters=1), cast, listen)


class Withdrawn:
    """A viewer with two courses on one connection, a ticket from before, and the loss of the first."""

    def __init__(self, lost: Course, kept: Course, cast: Cast, listen: Listen) -> None:
        self.lost, self.kept, self.cast = lost, kept, cast
        self.old_ticket = cast.viewer.ticket(lost.id)
        self.tab = listen(cast.viewer, lost, kept)
        self.answer = cast.owner.delete(f"{lost.path}members/{cast.viewer.user['id']}/")
        self.at = time.perf_counter()


def test_withdrawn_access_ends_the_subscription_within_a_second(withdrawn: Withdrawn) -> None:
    frame = withdrawn.tab.wait_for_received(lambda f: f["type"] == "unsubscribed")

    expected = {"type": "unsubscribed", "topic": withdrawn.lost.topic, "code": "access_withdrawn"}
    assert frame.frame == expected
    assert frame.at - withdrawn.at < 1


def test_withdrawn_access_is_told_on_the_members_own_topic_and_leaves_the_others(withdrawn: Withdrawn) -> None:
    owner, viewer, tab = withdrawn.cast.owner, withdrawn.cast.viewer, withdrawn.tab
    event = wait_for_own(tab, viewer, "course-member-update-complete", withdrawn.answer.operation_id)
    assert event["data"] == {"courseId": withdrawn.lost.id, "userId": viewer.user["id"], "role": None}
    tab.wait_for(lambda f: f["type"] == "unsubscribed")
    seen = len(tab.events(withdrawn.lost.topic))

    owner.done(owner.patch(withdrawn.lost.path, {"title": "Secret"}))
    kept = owner.done(owner.patch(withdrawn.kept.path, {"title": "For all"}))
    tab.wait_for_event("course-update-complete", kept["operationId"])
    assert len(tab.events(withdrawn.lost.topic)) == seen
    assert {viewer.get(path).status for path in reads(withdrawn.lost)} == {404}


def test_tickets_from_before_the_withdrawal_do_not_grant_the_topic(withdrawn: Withdrawn) -> None:
    withdrawn.tab.wait_for(lambda f: f["type"] == "unsubscribed")
    again = Listener(withdrawn.old_ticket["url"], withdrawn.old_ticket["ticket"])
    again.send({"type": "subscribe", "topic": withdrawn.lost.topic, "since": 0})

    assert again.wait_for(lambda f: f["type"] == "error")["topic"] == withdrawn.lost.topic
    withdrawn.tab.send({"type": "subscribe", "topic": withdrawn.lost.topic})
    assert withdrawn.tab.wait_for(lambda f: f["type"] == "error")["topic"] == withdrawn.lost.topic
    assert again.events(withdrawn.lost.topic) == []
    again.close()


def test_who_comes_back_hears_again(withdrawn: Withdrawn) -> None:
    owner, viewer, tab = withdrawn.cast.owner, withdrawn.cast.viewer, withdrawn.tab
    tab.wait_for(lambda f: f["type"] == "unsubscribed")
    withdrawn.lost.give_access(owner, viewer, "viewer")

    ticket, seen = viewer.ticket(withdrawn.lost.id)["ticket"], len(tab.log.received)
    tab.send({"type": "subscribe", "topic": withdrawn.lost.topic, "ticket": ticket})
    tab.wait_for(lambda f: f["type"] == "subscribed", start=seen)
    operation = owner.done(owner.patch(withdrawn.lost.path, {"title": "Open again"}))
    tab.wait_for_event("course-update-complete", operation["operationId"])


def test_members_may_leave(course: Course, viewer: Api, audience: Audience) -> None:
    answer = viewer.delete(f"{course.path}members/{viewer.user['id']}/")

    operation = viewer.done(answer)
    for tab in audience.tabs[:3]:
        tab.wait_for_seq(course.topic, operation["seq"])
    audience.tabs[3].wait_for(lambda f: f["type"] == "unsubscribed" and f["code"] == "access_withdrawn")
    assert viewer.get(course.path).status == 404


def test_lost_rights_end_an_operation_that_was_under_way(course: Course, owner: Api, editor: Api) -> None:
    first = editor.patch(course.path, {"title": "With rights"}, Operation_Id="long", Operation_Expect="2")
    course.give_access(owner, editor, "viewer")
    second = editor.patch(course.path, {"title": "Without"}, Operation_Id="long", Idempotency_Key="2")

    assert first.status == 202 and refusal(second) == (403, "permission_denied")
    assert owner.get(course.path).data["title"] == "With rights"
