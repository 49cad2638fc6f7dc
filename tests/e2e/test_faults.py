"""Whatever is killed in the middle of saves: nothing is lost, nothing is done twice, everything ends."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from demo.client import Api, Json
from tests.support.editing import random_changes
from tests.support.resuming import ResumingListener, until_taken
from tests.support.stack import Cast, Course, Site, all_events, eventually

PARTS = ["worker", "relay", "broadcast", "valkey", "postgres", "api"]
NEEDED_TO_ANSWER = ["postgres", "api"]
SAVES = 24
"""How many saves there are around a kill; a quarter of them is answered before it."""


class Savers:
    """People who make random saves at the same time, as many as they are told to, until each is answered."""

    def __init__(self, course: Course, users: list[Api]) -> None:
        self._course, self._permits, self._wanted = course, threading.Semaphore(0), 0
        self.taken: list[tuple[Api, str]] = []
        self.failures: list[BaseException] = []
        for number, user in enumerate(users):
            threading.Thread(target=self._work, args=(number, user.again()), daemon=True).start()

    def begin(self, saves: int) -> None:
        """Have them make so many saves more."""
        self._wanted += saves
        self._permits.release(saves)

    def answered(self, saves: int) -> None:
        """Wait until so many of the saves are answered; negative: all but so many."""
        wanted = saves if saves > 0 else self._wanted + saves
        eventually(lambda: len(self.taken) >= wanted or self.failures, 60)
        assert not self.failures, self.failures

    def _work(self, number: int, user: Api) -> None:
        try:
            rng = random.Random(number)
            outline = self._course.read(user)
            while self._permits.acquire():
                self._save(rng, user, outline, f"save-{number}-{rng.getrandbits(64):x}")
        except BaseException as failure:
            self.failures.append(failure)

    def _save(self, rng: random.Random, user: Api, outline: Json, operation_id: str) -> None:
        body = {"changes": random_changes(rng, outline) or [{"action": "course.update", "title": "x"}]}
        body |= {"operationId": f"{self._course.id}-{operation_id}", "atomic": rng.random() < 0.2}
        taken = until_taken(lambda: user.post(f"{self._course.path}save/", body))
        self.taken.append((user, taken["operationId"]))


@pytest.fixture
def site(fragile: Site) -> Site:
    return fragile


@pytest.fixture
def people(fragile_people: Cast) -> Cast:
    return fragile_people


@pytest.fixture
def followed(site: Site, cast: Cast) -> Iterator["Followed"]:
    """A course that people save to, and others follow through everything."""
    followed = Followed(site.new_course(cast, chapters=3), cast)
    yield followed
    followed.close()


class Followed:
    """A course, those who save to it, and those who follow it."""

    def __init__(self, course: Course, cast: Cast) -> None:
        self.course, self.cast = course, cast
        self.followers = [ResumingListener(user, course.id) for user in cast.members]
        self.savers = Savers(course, [cast.owner, cast.editor, cast.owner])

    def close(self) -> None:
        for follower in self.followers:
            follower.close()

    def save_while(self, something_happens: Callable[[], None]) -> None:
        """Have saves made before, while and after something happens, and wait until all are answered."""
        self.savers.begin(SAVES)
        self.savers.answered(SAVES // 4 - SAVES)
        something_happens()
        self.savers.answered(0)

    def all_is_well(self, *, resyncs: bool = False) -> None:
        """Insist that everything taken ended, and that every follower has every event once, and the truth."""
        taken, owner = self.savers.taken, self.cast.owner.again()
        operations = [user.again().wait(operation_id) for user, operation_id in taken]
        assert all(operation["finishedAt"] for operation in operations)
        events = all_events(owner, self.course.topic)
        ended = Counter(event["operationId"] for event in events if event["type"] == "batch-operation-complete")
        assert {ended[operation_id] for _, operation_id in taken} == {1}
        truth = self.course.read(owner)
        for follower in self.followers:
            self._heard_everything(follower, events, truth)
            assert resyncs or not follower.resyncs

    def _heard_everything(self, follower: ResumingListener, events: list[Json], truth: Json) -> None:
        follower.wait_for_seq(truth["seq"])
        assert follower.outline["chapters"] == truth["chapters"]
        assert follower.outline["course"] == {**truth["course"], "role": follower.outline["course"]["role"]}
        assert list(follower.events.values()) == [event for event in events if event["seq"] > follower.began_at]


@pytest.mark.parametrize("name", PARTS)
def test_killed_in_the_middle_of_saves_and_started_again(site: Site, followed: Followed, name: str) -> None:
    def die_and_come_back() -> None:
        site.stack.kill(name)
        if name not in NEEDED_TO_ANSWER:
            followed.savers.answered(-SAVES // 4)
        site.stack.restart(name)

    followed.save_while(die_and_come_back)
    followed.save_while(die_and_come_back)
    # Who lost Redis cannot know what it lost: clients are told to ask.
    followed.all_is_well(resyncs=name == "valkey")


def test_all_parts_are_killed_at_once_and_come_back(site: Site, followed: Followed) -> None:
    def die_and_come_back() -> None:
        for name in PARTS:
            site.stack.kill(name)
        for name in ("postgres", "valkey", "broadcast", "api", "relay", "worker"):
            site.stack.restart(name)

    followed.save_while(die_and_come_back)
    followed.all_is_well(resyncs=True)


def test_while_the_broadcast_service_is_down_saves_go_on_and_their_events_come_later(
    site: Site, followed: Followed
) -> None:
    followed.save_while(lambda: site.stack.kill("broadcast"))
    ended(followed.savers.taken)
    ready = site.anonymous().get("/readyz")
    assert (ready.status, ready.body["status"]) == (200, "degraded")

    site.stack.restart("broadcast")
    followed.all_is_well()
    assert all(follower.doubles == 0 for follower in followed.followers)
    eventually(lambda: site.anonymous().get("/readyz").body["status"] == "ready")


def test_without_redis_everything_but_the_live_events_works(site: Site, followed: Followed) -> None:
    followed.save_while(lambda: site.stack.kill("valkey"))
    ready, broadcast = site.anonymous().get("/readyz"), Api(f"http://127.0.0.1:{site.stack.port('broadcast')}")
    assert (ready.status, ready.body["status"]) == (200, "degraded")
    eventually(lambda: broadcast.get("/readyz").status == 503)
    ended(followed.savers.taken)

    site.stack.restart("valkey")
    followed.all_is_well(resyncs=True)
    eventually(lambda: broadcast.get("/readyz").status == 200)


def ended(taken: list[tuple[Api, str]]) -> None:
    """Wait until these operations ended, without the bell that rings through Redis."""
    for user, operation_id in taken:
        path, api = f"operations/{operation_id}/", user.again()
        eventually(lambda api=api, path=path: api.get(path).data["finishedAt"], 30)  # type: ignore[misc]


def test_without_the_database_requests_are_refused_for_now_and_readiness_says_so(site: Site, cast: Cast) -> None:
    api = cast.owner.again()
    course = Course(api.done(api.post("courses/", {"title": "x"}))["steps"][0]["data"]["courseId"])
    site.stack.kill("postgres")
    refused = api.patch(course.path, {"title": "x"})
    assert (refused.status, refused.body["error"]["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert (api.get("/readyz").status, api.get("/healthz").status) == (503, 200)

    site.stack.restart("postgres")
    eventually(lambda: api.get("/readyz").status == 200)
    api.done(api.patch(course.path, {"title": "y"}))
