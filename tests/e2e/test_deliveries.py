"""A broadcast service that misbehaves, a broker that dies, requests that never come: saves go on, order holds."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from demo.client import Api, Json
from tests.support.broadcast_valkey import Valkey
from tests.support.fake_bridge import FakeBridge, Misbehaviour, after_taking, answering, refusing
from tests.support.stack import Cast, Course, Site, all_events, eventually, refusal, running, said

SECRET = "for the bridge of these tests only"
IDLE_SECONDS = 2


@pytest.fixture(scope="module")
def bridge() -> Iterator[FakeBridge]:
    fake = FakeBridge(SECRET)
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def broker() -> Iterator[Valkey]:
    """A broker of its own, apart from the Redis that does everything else."""
    server = Valkey().start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def site(bridge: FakeBridge, broker: Valkey) -> Iterator[Site]:
    """A CourseHub without its broadcast service."""
    given = {
        "BROADCAST_URL": bridge.url,
        "BROADCAST_SECRET": SECRET,
        "CELERY_BROKER_URL": broker.url.replace("unix:", "redis+socket:"),
        "OPERATION_IDLE_SECONDS": str(IDLE_SECONDS),
    }
    with running(names=["api", "worker", "relay"], given=given) as site:
        yield site


@pytest.fixture(scope="module")
def people(site: Site) -> Cast:
    return Cast.of(site)


@pytest.fixture(autouse=True)
def behaved(bridge: FakeBridge) -> Iterator[None]:
    """Every test begins and ends with a bridge that does what it should."""
    yield
    bridge.misbehave = None


def rename(course: Course, user: Api, titles: range) -> list[Json]:
    """Make that many edits, each answered quickly, and wait for their ends."""
    answers = [user.patch(course.path, {"title": f"{title}"}) for title in titles]
    assert sorted(answer.seconds for answer in answers)[len(answers) // 2] < 0.25
    return [user.done(answer) for answer in answers]


def all_is_delivered(bridge: FakeBridge, course: Course, reader: Api) -> list[Json]:
    """Wait for a course's last event; all are there, in order, and the same as over REST."""
    events = all_events(reader, course.topic)
    assert bridge.wait_for(course.topic, events[-1]["seq"]) == events
    return events


AWAY: dict[str, Misbehaviour] = {
    "500": answering(500),
    "503": answering(503, {"success": False, "error": {"code": "unavailable", "message": "not now"}}),
    "401": answering(401),
    "404": answering(404),
    "200 from something else": lambda _: (200, b"<html>Welcome</html>"),
    "409 that makes no sense": lambda _: (409, b"[]"),
}


@pytest.mark.parametrize("misbehaviour", AWAY.values(), ids=AWAY.keys())
def test_what_was_not_taken_is_delivered_later_and_in_order(
    bridge: FakeBridge, course: Course, owner: Api, misbehaviour: Misbehaviour
) -> None:
    all_is_delivered(bridge, course, owner)
    bridge.misbehave = misbehaviour
    rename(course, owner, range(10))
    bridge.wait_for_posts(1)
    bridge.misbehave = None
    rename(course, owner, range(10, 20))

    titles = [event["data"]["updates"]["title"] for event in all_is_delivered(bridge, course, owner)[-20:]]
    assert titles == [f"{n}" for n in range(20)]


def test_what_was_taken_and_not_answered_in_time_counts_once(bridge: FakeBridge, course: Course, owner: Api) -> None:
    all_is_delivered(bridge, course, owner)
    bridge.misbehave, doubled = after_taking(bridge, 1.5), bridge.duplicates
    rename(course, owner, range(10))
    bridge.wait_for_posts(1)
    bridge.misbehave = None

    all_is_delivered(bridge, course, owner)
    eventually(lambda: bridge.duplicates > doubled)


def test_a_slow_bridge_slows_no_save_down(bridge: FakeBridge, course: Course, owner: Api) -> None:
    bridge.misbehave = after_taking(bridge, 0.4)
    rename(course, owner, range(30))
    all_is_delivered(bridge, course, owner)


def test_events_that_the_history_lost_are_posted_again(bridge: FakeBridge, course: Course, owner: Api) -> None:
    rename(course, owner, range(5))
    before = all_is_delivered(bridge, course, owner)
    bridge.forget(course.topic, after=2)
    rename(course, owner, range(5, 8))

    assert all_is_delivered(bridge, course, owner)[: len(before)] == before


@pytest.mark.parametrize(("status", "with_index"), [(400, True), (400, False), (413, False)])
def test_an_event_that_is_refused_for_good_has_a_stand_in_and_the_rest_is_delivered(
    bridge: FakeBridge, course: Course, owner: Api, status: int, with_index: bool
) -> None:
    all_is_delivered(bridge, course, owner)

    def is_bad(event: Json) -> bool:
        return bool(event.get("data", {}).get("updates", {}).get("title") == "4")

    bridge.misbehave = refusing(is_bad, status=status, with_index=with_index)
    operations = rename(course, owner, range(8))

    # The list over REST may be read before the stand-in is made.
    events = bridge.wait_for(course.topic, operations[-1]["seq"])[-8:]
    assert [event["seq"] for event in events] == [operation["seq"] for operation in operations]
    titles = [event["data"].get("updates", {}).get("title") for event in events]
    assert titles == ["0", "1", "2", "3", None, "5", "6", "7"]
    assert said(events[4]) == ("event-withheld", {})
    assert (events[4]["operationId"], events[4]["courseId"]) == (operations[4]["operationId"], course.id)
    assert all_is_delivered(bridge, course, owner)[-4] == events[4]
    assert owner.get(f"operations/{operations[4]['operationId']}/").data["status"] == "succeeded"
    assert "coursehub_outbox_withheld " in owner.get("/metrics").body.decode()


def test_one_topics_refused_event_holds_up_no_other_topic(
    bridge: FakeBridge, site: Site, cast: Cast, course: Course, owner: Api
) -> None:
    other = site.new_course(cast, chapters=0)
    bridge.misbehave = refusing(lambda event: event.get("data", {}).get("updates", {}).get("title") == "bad")
    with ThreadPoolExecutor() as pool:
        editing = pool.submit(rename, other, cast.editor, range(20))
        bad = [owner.patch(course.path, {"title": "bad"}) for _ in range(5)]
        editing.result()

    all_is_delivered(bridge, other, owner)
    last = owner.done(bad[-1])["seq"]
    types = [event["type"] for event in bridge.wait_for(course.topic, last)]
    assert types[-5:] == ["event-withheld"] * 5
    bridge.misbehave = None
    rename(course, owner, range(1))
    all_is_delivered(bridge, course, owner)


def test_without_a_broker_saves_are_answered_and_done(
    site: Site, bridge: FakeBridge, broker: Valkey, course: Course, owner: Api
) -> None:
    broker.kill()
    rename(course, owner, range(10))
    saved = course.save(owner, {"action": "chapter.create", "tempId": "c", "title": "Without a broker"})
    owner.done(saved)
    ready = owner.get("/readyz")
    assert (ready.status, ready.body["status"], ready.body["degraded"]) == (200, "degraded", ["broker"])
    all_is_delivered(bridge, course, owner)

    broker.start()
    eventually(lambda: owner.get("/readyz").body["status"] == "ready", 30)
    with site.paused("relay"):  # so that it is the worker who hears of it again
        rename(course, owner, range(10, 12))
    all_is_delivered(bridge, course, owner)


def test_an_operation_whose_requests_stop_coming_ends_as_incomplete(
    bridge: FakeBridge, course: Course, owner: Api
) -> None:
    first = owner.patch(course.path, {"title": "First"}, Operation_Id="torn", Operation_Expect="3")
    operation = owner.wait(first.operation_id, IDLE_SECONDS + 8)

    assert (operation["status"], operation["succeeded"], operation["failed"]) == ("partial", 1, 2)
    assert operation["error"]["code"] == "incomplete"
    assert [step["status"] for step in operation["steps"]] == ["succeeded"]
    end = all_is_delivered(bridge, course, owner)[-1]
    assert (end["type"], end["seq"]) == ("batch-operation-complete", operation["seq"])
    assert (end["data"]["status"], end["data"]["succeeded"], end["data"]["failed"]) == ("partial", 1, 2)
    late = owner.patch(course.path, {"title": "Late"}, Operation_Id="torn", Idempotency_Key="2")
    assert refusal(late) == (409, "conflict")
    assert owner.get("operations/torn/").data == operation


def test_each_request_gives_an_operation_more_time(course: Course, owner: Api) -> None:
    named = {"Operation_Id": "patient", "Operation_Expect": "3"}
    owner.patch(course.path, {"title": "First"}, **named)
    assert owner.wait("patient", 0.6 * IDLE_SECONDS)["finishedAt"] is None
    sent_at = datetime.now(UTC)
    owner.patch(course.path, {"title": "Second"}, **named, Idempotency_Key="2")

    operation = owner.wait("patient", IDLE_SECONDS + 8)
    assert (operation["succeeded"], operation["failed"]) == (2, 1)
    lasted = datetime.fromisoformat(operation["finishedAt"]) - sent_at
    assert lasted >= timedelta(seconds=IDLE_SECONDS)
