"""Order, and many at once."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.client import Api, Json
from tests.support.editing import random_changes
from tests.support.replay import replay
from tests.support.stack import Audience, Cast, Course, Listen, Site, all_events

PAIRS = 1_000
SAVES_EACH = 25


def test_a_then_b_a_thousand_times_always_ends_as_b(course: Course, owner: Api, audience: Audience) -> None:
    path = f"chapters/{course.chapters[0]}/"
    titles = [f"{letter}{n}" for n in range(PAIRS) for letter in "AB"]
    last = [owner.patch(path, {"title": title}) for title in titles][-1]

    events = audience.hears(owner.done(last))
    assert [event["data"]["newTitle"] for event in events] == titles
    assert [event["data"]["version"] for event in events] == list(range(2, len(titles) + 2))
    assert owner.get(path).data["title"] == f"B{PAIRS - 1}"


@pytest.fixture
def no_deadlocks(site: Site) -> Iterator[None]:
    """PostgreSQL's count of deadlocks stays what it is, and so does its log, which is written at once."""
    log = site.stack.runners["postgres"].log
    written, counted = log.stat().st_size, _deadlocks(site)
    yield
    with log.open("rb") as file:
        file.seek(written)
        assert b"deadlock" not in file.read()
    assert _deadlocks(site) == counted


def _deadlocks(site: Site) -> int:
    return int(site.ask_database("SELECT sum(deadlocks) FROM pg_stat_database")[0][0])


class Crowd:
    """Several people, each on a connection of their own, who edit some courses at random."""

    def __init__(self, cast: Cast, courses: list[Course]) -> None:
        self.cast, self.courses = cast, courses
        self.taken: list[tuple[Api, str]] = []

    def work(self, seed: int) -> None:
        """Save again and again, looking at the outline only now and then."""
        rng = random.Random(seed)
        user = rng.choice([self.cast.owner, self.cast.editor]).again()
        outlines = {course.id: course.read(user) for course in self.courses}
        for _ in range(SAVES_EACH):
            course = rng.choice(self.courses)
            if rng.random() < 0.3:
                outlines[course.id] = course.read(user)
            rng.choice([self._save, self._save, self._save, self._across])(rng, user, course, outlines[course.id])

    def manage(self, seed: int) -> None:
        """Change a member's role, take it and give it back, as the owner."""
        rng, owner, member = random.Random(seed), self.cast.owner.again(), self.cast.stranger
        for _ in range(SAVES_EACH):
            path, username = f"{rng.choice(self.courses).path}members/", member.user["username"]
            answer = owner.post(path, {"username": username, "role": rng.choice(("editor", "viewer"))})
            self.taken.append((owner, answer.operation_id))
            removed = owner.delete(f"{path}{member.user['id']}/")
            assert removed.status in (202, 404), removed
            self.taken += [(owner, removed.operation_id)] if removed.status == 202 else []

    def _save(self, rng: random.Random, user: Api, course: Course, outline: Json) -> None:
        changes = random_changes(rng, outline)
        answer = course.save(user, *changes, atomic=rng.random() < 0.2) if changes else None
        self.taken += [(user, answer.operation_id)] if answer else []

    def _across(self, rng: random.Random, user: Api, course: Course, outline: Json) -> None:
        """One operation on two courses, the second one named first half of the time."""
        named = {"operationId": f"across-{rng.getrandbits(64):x}", "expect": 2}
        for step, each in enumerate(rng.sample([course, *self.courses[:2]], 2)):
            answer = user.patch(each.path, {"title": f"{rng.random()}", "stepId": f"{step}", **named})
            assert answer.status == 202, answer
        self.taken.append((user, named["operationId"]))


def test_random_saves_of_many_people_on_shared_courses(
    site: Site, cast: Cast, listen: Listen, no_deadlocks: None
) -> None:
    courses = [site.new_course(cast, chapters=3) for _ in range(3)]
    before = {course.id: course.read(cast.owner) for course in courses}
    listeners = [listen(person, *courses) for person in cast.members for _ in range(2)]
    crowd = Crowd(cast, courses)
    jobs: list[Callable[[int], None]] = [crowd.work] * 6 + [crowd.manage] * 2
    with ThreadPoolExecutor(len(jobs)) as pool:
        for done in [pool.submit(job, seed) for seed, job in enumerate(jobs)]:
            done.result()

    operations = [user.again().wait(operation_id) for user, operation_id in crowd.taken]
    assert all(operation["finishedAt"] for operation in operations)
    for course in courses:
        after = course.read(cast.owner)
        for listener in listeners:
            listener.wait_for_seq(course.topic, after["seq"])
            events = listener.events(course.topic)
            assert [event["seq"] for event in events] == list(range(before[course.id]["seq"] + 1, after["seq"] + 1))
            assert replay(before[course.id], events) == after
    _each_ended_once(operations, cast, courses)


def _each_ended_once(operations: list[Json], cast: Cast, courses: list[Course]) -> None:
    topics = [(cast.owner, course.topic) for course in courses]
    topics += [(user, f"user:{user.user['id']}") for user in cast.members]
    events = [event for reader, topic in topics for event in all_events(reader, topic)]
    ended = Counter(event["operationId"] for event in events if event["type"] == "batch-operation-complete")
    batches = [operation for operation in operations if operation["expected"] > 1 or operation["kind"] == "save"]
    assert batches and {ended[operation["operationId"]] for operation in batches} == {1}
