"""Catching up on a topic's events over REST."""

from typing import Any

import pytest
from django.core.management import call_command

from apps.accounts.models import User
from apps.core import clock
from apps.outbox import delivery, emit, selectors
from apps.outbox.models import OutboxEvent
from tests.apps.outbox.writing import draft
from tests.support.api import ApiClient, events_of
from tests.support.bridge import MemoryBridge


@pytest.fixture
def topic(owner: User) -> str:
    """A topic that the API's user hears, with five events."""
    name = f"user:{owner.pk}"
    emit.emit([draft(name, n=n) for n in range(1, 6)], now=clock.now())
    return name


def _seqs(body: Any) -> list[int]:
    return [event["seq"] for event in body["data"]]


def test_events_come_as_they_are_sent_oldest_first(api: ApiClient, topic: str) -> None:
    answer = api.get(f"topics/{topic}/events/")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == {"success": True, "data": events_of(topic), "next": None}
    assert _seqs(answer.body) == [1, 2, 3, 4, 5]


def test_after_a_seq_come_only_later_ones(api: ApiClient, topic: str) -> None:
    assert _seqs(api.get(f"topics/{topic}/events/?after=3").body) == [4, 5]


@pytest.mark.parametrize("after", [5, 6, 2**63 - 1])
def test_at_the_end_there_is_nothing_more(api: ApiClient, topic: str, after: int) -> None:
    assert api.get(f"topics/{topic}/events/?after={after}").body == {"success": True, "data": [], "next": None}


def test_what_happens_while_one_reads_at_the_end_is_not_gone(
    api: ApiClient, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def events_after(*asked: Any) -> list[OutboxEvent]:
        monkeypatch.undo()
        found = selectors.events_after(*asked)
        emit.emit([draft(topic, n=6)], now=clock.now())
        return found

    monkeypatch.setattr(selectors, "events_after", events_after)
    assert api.get(f"topics/{topic}/events/?after=5").data == []
    assert _seqs(api.get(f"topics/{topic}/events/?after=5").body) == [6]


def test_next_leads_from_page_to_page_and_is_null_at_the_end(api: ApiClient, topic: str) -> None:
    pages, after = [], 0
    while after is not None:
        page = api.get(f"topics/{topic}/events/?after={after}&limit=2").body
        pages.append(_seqs(page))
        after = page["next"]

    assert pages == [[1, 2], [3, 4], [5]]


def test_a_last_page_that_is_full_is_the_last(api: ApiClient, topic: str) -> None:
    assert api.get(f"topics/{topic}/events/?after=3&limit=2").body["next"] is None


@pytest.mark.parametrize("after", [0, 3, 5, 7])
def test_after_a_restore_nobody_goes_on_from_before_it(api: ApiClient, topic: str, after: int) -> None:
    call_command("raise_seqs")
    assert api.get(f"topics/{topic}/events/?after={after}").error["code"] == "gone"
    emit.emit([draft(topic)], now=clock.now())

    assert api.get(f"topics/{topic}/events/?after={after}").error["oldestSeq"] == 1_000_006
    assert _seqs(api.get(f"topics/{topic}/events/?after=1000005").body) == [1_000_006]


def test_a_topic_in_which_nothing_happened_yet_is_empty(api: ApiClient, owner: User) -> None:
    assert api.get(f"topics/user:{owner.pk}/events/").body == {"success": True, "data": [], "next": None}


def test_a_course_is_heard_by_its_members_from_when_they_are_until_they_are_not(
    live: ApiClient, stranger: User
) -> None:
    course = live.course()
    live.chapter(course)
    guest = ApiClient(stranger)
    assert guest.get(f"topics/course:{course}/events/").error["code"] == "not_found"
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "viewer"})
    assert guest.get(f"topics/course:{course}/events/").data == events_of(course)
    live.delete(f"courses/{course}/members/{stranger.pk}/")

    assert guest.get(f"topics/course:{course}/events/").status == 404
    assert len(live.get(f"topics/course:{course}/events/").data) == 4


def test_a_deleted_course_is_still_heard(live: ApiClient) -> None:
    course = live.course()
    live.delete(f"courses/{course}/")

    types = [event["type"] for event in live.get(f"topics/course:{course}/events/").data]
    assert types == ["course-create-complete", "course-delete-complete"]


def test_someone_elses_user_topic_is_not_there(api: ApiClient, stranger: User) -> None:
    emit.emit([draft(f"user:{stranger.pk}")], now=clock.now())

    assert api.get(f"topics/user:{stranger.pk}/events/").error["code"] == "not_found"


@pytest.mark.parametrize(
    "topic",
    [
        "nonsense",
        "course:",
        "course:1",
        "planet:01900000-0000-7000-8000-00000000000a",
        "COURSE:01900000-0000-7000-8000-00000000000a",
        "course:01900000-0000-7000-8000-00000000000A",
        "course:01900000-0000-7000-8000-00000000000a",
        "user:%00",
        "course%2F..",
        "%F0%9F%8E%93",
    ],
)
def test_what_is_no_topic_or_never_was_is_not_there(api: ApiClient, topic: str) -> None:
    assert api.get(f"topics/{topic}/events/").status == 404


def test_control_messages_are_never_shown_not_even_to_whom_they_are_about(
    live: ApiClient, owner: User, stranger: User
) -> None:
    course = live.course()
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "viewer"})
    live.delete(f"courses/{course}/members/{stranger.pk}/")
    assert events_of(f"control:{stranger.pk}")

    for user in (owner, stranger):
        assert ApiClient(user).get(f"topics/control:{stranger.pk}/events/").status == 404
    told = [
        *live.get(f"topics/course:{course}/events/").data,
        *ApiClient(stranger).get(f"topics/user:{stranger.pk}/events/").data,
    ]
    assert "access-revoked" not in {event["type"] for event in told}


def test_what_is_no_longer_kept_is_gone_and_says_what_is_kept(api: ApiClient, topic: str) -> None:
    OutboxEvent.objects.filter(seq__lte=3).delete()

    for after in (0, 2):
        answer = api.get(f"topics/{topic}/events/?after={after}")
        assert (answer.status, answer.error["code"], answer.error["oldestSeq"]) == (410, "gone", 4)
    assert _seqs(api.get(f"topics/{topic}/events/?after=3").body) == [4, 5]


def test_when_nothing_is_kept_all_but_the_newest_is_gone(api: ApiClient, topic: str) -> None:
    OutboxEvent.objects.all().delete()

    assert api.get(f"topics/{topic}/events/?after=4").status == 410
    assert api.get(f"topics/{topic}/events/?after=5").data == []


def test_a_withheld_event_is_shown_by_its_stand_in(api: ApiClient, topic: str) -> None:
    bridge = MemoryBridge()
    bridge.refuse(lambda event: event["type"] != "event-withheld" and event["seq"] == 2)
    for _ in range(2):
        delivery.deliver({topic}, bridge)

    shown = api.get(f"topics/{topic}/events/?limit=2").data
    assert [event["type"] for event in shown] == ["chapter-update-complete", "event-withheld"]
    assert shown[1] == {**events_of(topic)[1], "type": "event-withheld", "data": {}}
    assert bridge.taken[topic][1] == {"topic": topic, **shown[1]}


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "after=9223372036854775808", "after=1.5", "limit=0", "limit=201", "since=3"]
)
def test_a_query_that_makes_no_sense_is_refused(api: ApiClient, topic: str, query: str) -> None:
    answer = api.get(f"topics/{topic}/events/?{query}")

    assert (answer.status, answer.error["code"]) == (400, "validation_error")
    assert list(answer.error["fields"]) == [query.partition("=")[0]]


def test_without_a_login_there_is_nothing(topic: str) -> None:
    assert ApiClient(None).get(f"topics/{topic}/events/").status == 401
