"""SIGTERM: every part finishes what it has begun, and says so in time."""

import contextlib
import http.client
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import InvalidStatus

from coursehub.stack.processes import Child
from demo.client import Answer, Api, Listener
from tests.support.resuming import ResumingListener
from tests.support.stack import Cast, Course, Listen, Site, eventually


@pytest.fixture
def site(fragile: Site) -> Site:
    return fragile


@pytest.fixture
def people(fragile_people: Cast) -> Cast:
    return fragile_people


def asked_to_end(site: Site, name: str) -> Child:
    """Send SIGTERM to a part's main process, as a process manager does."""
    child = site.stack.child(name)
    child.ask_to_end()
    return child


def test_the_api_answers_what_it_has_begun(site: Site, course: Course, cast: Cast) -> None:
    owner = cast.owner
    with ThreadPoolExecutor() as pool, site.paused():
        operation_id = owner.patch(course.path, {"title": "Slow"}).operation_id
        waiting = pool.submit(owner.again().get, f"operations/{operation_id}/?wait=25")
        # What came over a later connection is answered: what came before has been taken in.
        assert answer_of(site, "/healthz") == (200, {"status": "alive"})
        child = asked_to_end(site, "api")
        eventually(lambda: answer_of(site, "/readyz") == (503, {"status": "draining"}), 5)

    assert waiting.result().data["status"] == "succeeded"
    assert child.process.wait(30) == 0
    site.stack.restart("api")
    assert answer_of(site, "/readyz") == (200, {"status": "ready", "degraded": []})


def answer_of(site: Site, path: str) -> tuple[int, object] | None:
    """A status and body over a new connection; None: there is no one."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        answer = site.anonymous().get(path)
        return answer.status, answer.body
    return None


class Balancer:
    """Sends requests on new connections for as long as readiness says that they are welcome."""

    def __init__(self, site: Site, user: Api) -> None:
        self._site, self._user, self.unwelcome = site, user, threading.Event()

    def watch(self) -> tuple[int, object] | None:
        """Ask for readiness until it is denied; returns the denial."""
        while (answer := answer_of(self._site, "/readyz")) and answer[0] == 200:
            self.unwelcome.wait(0.01)
        self.unwelcome.set()
        return answer

    def load(self) -> list[Answer]:
        """Read and change until requests are unwelcome."""
        answers = []
        while not self.unwelcome.is_set():
            api = self._user.again()
            answers += [api.get("auth/me/"), api.post("courses/", {"title": "Under load"})]
            api.close()
        return answers


def test_whoever_heeds_readiness_sees_no_request_fail(site: Site, cast: Cast) -> None:
    balancer = Balancer(site, cast.owner)
    with ThreadPoolExecutor() as pool:
        loads = [pool.submit(balancer.load) for _ in range(4)]
        watch = pool.submit(balancer.watch)
        assert answer_of(site, "/healthz") == (200, {"status": "alive"})
        child = asked_to_end(site, "api")
        answers = [answer for load in loads for answer in load.result()]

    assert watch.result() == (503, {"status": "draining"})
    assert answers and {answer.status for answer in answers} == {200, 202}
    assert child.process.wait(30) == 0
    site.stack.restart("api")
    owner = cast.owner.again()
    for answer in answers[1::2]:
        owner.done(answer)


def test_a_worker_finishes_its_job(site: Site, course: Course, cast: Cast) -> None:
    changes = [{"action": "chapter.create", "title": f"{n}"} for n in range(2_000)]
    with site.paused("relay"):
        answer = course.save(cast.owner, *changes)
        # Whoever runs the steps of a course holds this lock.
        eventually(lambda: site.ask_database("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"))
        child = asked_to_end(site, "worker")
        assert child.process.wait(30) == 0
        operation = cast.owner.get(f"operations/{answer.operation_id}/").data

    assert (operation["status"], operation["succeeded"]) == ("succeeded", 2_000)
    site.stack.restart("worker")


def test_what_a_worker_has_not_begun_goes_back(site: Site, course: Course, cast: Cast) -> None:
    child = asked_to_end(site, "worker")
    answers = [cast.owner.patch(course.path, {"title": f"{n}"}) for n in range(10)]
    assert child.process.wait(30) == 0
    for answer in answers:
        cast.owner.done(answer)
    site.stack.restart("worker")


def test_the_relay_ends_when_it_is_asked_to(site: Site) -> None:
    assert asked_to_end(site, "relay").process.wait(15) == 0
    site.stack.restart("relay")


def test_the_broadcast_service_sends_its_clients_away_and_they_miss_nothing(
    site: Site, course: Course, cast: Cast, listen: Listen
) -> None:
    owner = cast.owner
    tabs = [listen(owner, course) for _ in range(3)]
    ticket = owner.ticket(course.id)
    follower = ResumingListener(owner, course.id)
    child = asked_to_end(site, "broadcast")

    closings = [tab.wait_for(lambda f: f["type"] == "closing") for tab in tabs]
    with pytest.raises(InvalidStatus) as refused:
        Listener(ticket["url"], ticket["ticket"])
    assert refused.value.response.status_code == 503 and refused.value.response.headers["Retry-After"]
    assert {closing["code"] for closing in closings} == {4201}
    assert all(closing["reason"] and 0 <= closing["retryAfterMs"] <= 10_000 for closing in closings)
    assert len({closing["retryAfterMs"] for closing in closings}) > 1
    for tab in tabs:
        assert tab.closed.wait(10) and tab.close_code == 4201
    answers = [owner.patch(course.path, {"title": f"{n}"}) for n in range(10)]
    assert child.process.wait(30) == 0

    site.stack.restart("broadcast")
    seqs = [owner.done(answer)["seq"] for answer in answers]
    follower.wait_for_seq(seqs[-1])
    assert (follower.resyncs, list(follower.events)) == (0, seqs)
    follower.close()
