"""What a library's steps lock, and in which order: courses first, then files, so that nobody ever waits in a circle."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection

from apps.accounts.models import User
from apps.media.models import MediaLink
from apps.operations import hints, runner
from tests.support.api import Answer, ApiClient
from tests.support.library import a_file

COURSE = "SELECT 1 FROM courses_course WHERE id = %s FOR NO KEY UPDATE"
FILE = "SELECT 1 FROM media_media WHERE id = %s FOR NO KEY UPDATE"
Ask = Callable[[ApiClient, str, str], Answer]


def _link(api: ApiClient, media: str, course: str) -> Answer:
    return api.post(f"media/{media}/links/", {"targetType": "course", "targetId": course})


def _restore(api: ApiClient, media: str, course: str) -> Answer:
    return api.post(f"media/{media}/restore/", {"restoreLinks": "all"})


@pytest.fixture
def others() -> Iterator[Callable[[], Any]]:
    """A way to more connections."""
    made = []

    def make() -> Any:
        made.append(connection.copy())
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def run(owner: User) -> Iterator[Callable[[], threading.Thread]]:
    """A way to have the library's lane run by a thread; it is told of once it waits for somebody."""
    threads = []

    def work() -> None:
        runner.run_lane(f"user:{owner.pk}")
        connection.close()

    def start() -> threading.Thread:
        thread = threading.Thread(target=work)
        threads.append(thread)
        thread.start()
        with connection.cursor() as cursor:
            while thread.is_alive():
                cursor.execute("SELECT 1 FROM pg_locks WHERE locktype IN ('transactionid', 'tuple') AND NOT granted")
                if cursor.fetchone():
                    return thread
        raise AssertionError("it waited for nobody")

    yield start
    for thread in threads:
        thread.join(10)


@pytest.fixture(params=["link", "restore"])
def asked(request: Any, live: ApiClient, owner: User) -> tuple[Ask, str, str]:
    """What makes a link when the lane is run, and the file and the course that it needs."""
    course, media = live.course(), a_file(owner)
    if request.param == "link":
        return _link, media, course
    _link(live, media, course)
    live.delete(f"media/{media}/?force=true")
    return _restore, media, course


@pytest.fixture
def pending(asked: tuple[Ask, str, str], owner: User) -> tuple[str, str]:
    """The file and the course of a link that is asked for, and not made yet."""
    ask, media, course = asked
    hints.use(lambda *_: None)
    assert ask(ApiClient(owner), media, course).status == 202
    return media, course


def test_a_link_comes_only_when_nobody_else_has_its_file_and_keeps_its_course_meanwhile(
    pending: tuple[str, str], run: Callable[[], threading.Thread], others: Callable[[], Any]
) -> None:
    media, course = pending
    with _locked(others(), FILE, media):
        thread = run()
        assert not _can_lock(others(), COURSE, course)
        assert thread.is_alive() and not MediaLink.objects.exists()
    thread.join(10)
    assert MediaLink.objects.get().media_id.hex == media.replace("-", "")


def test_a_link_that_waits_for_its_course_keeps_nobody_from_its_file(
    pending: tuple[str, str], run: Callable[[], threading.Thread], others: Callable[[], Any]
) -> None:
    media, course = pending
    with _locked(others(), COURSE, course):
        thread = run()
        assert _can_lock(others(), FILE, media)
        assert thread.is_alive() and not MediaLink.objects.exists()
    thread.join(10)
    assert MediaLink.objects.count() == 1


def test_a_file_that_goes_keeps_the_course_of_the_video_that_plays_it(
    live: ApiClient, owner: User, run: Callable[[], threading.Thread], others: Callable[[], Any]
) -> None:
    course, media = live.course(), a_file(owner)
    target = {"targetType": "video", "targetId": live.video(live.chapter(course)), "role": "source"}
    live.post(f"media/{media}/links/", target)
    hints.use(lambda *_: None)
    live.delete(f"media/{media}/?force=true")
    with _locked(others(), FILE, media):
        thread = run()
        assert not _can_lock(others(), COURSE, course)
    thread.join(10)
    assert not MediaLink.objects.exists()


def test_a_file_that_goes_and_returns_keeps_the_courses_that_it_returns_to(
    live: ApiClient, owner: User, run: Callable[[], threading.Thread], others: Callable[[], Any]
) -> None:
    course, media = live.course(), a_file(owner)
    _link(live, media, course)
    hints.use(lambda *_: None)
    live.delete(f"media/{media}/?force=true")
    _restore(live, media, course)
    with _locked(others(), FILE, media):
        thread = run()
        assert not _can_lock(others(), COURSE, course)
    thread.join(10)
    assert MediaLink.objects.count() == 1


def test_a_link_sees_what_became_of_its_file_while_it_waited(
    live: ApiClient, owner: User, run: Callable[[], threading.Thread], others: Callable[[], Any]
) -> None:
    course, media = live.course(), a_file(owner)
    hints.use(lambda *_: None)
    linked, other = _link(live, media, course), others()
    with _locked(other, FILE, media), other.cursor() as cursor:
        thread = run()
        cursor.execute("UPDATE media_media SET deleted_at = now(), purge_at = now() WHERE id = %s", [media])
    thread.join(10)
    assert live.operation(linked)["steps"][0]["error"]["code"] == "gone"


@contextmanager
def _locked(other: Any, lock: str, id_: str) -> Iterator[None]:
    """Have someone else hold a row, as a save or a step of a library would."""
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(lock, [id_])
        try:
            yield
        finally:
            cursor.execute("COMMIT")


def _can_lock(other: Any, lock: str, id_: str) -> bool:
    try:
        with other.cursor() as cursor:
            cursor.execute(f"{lock} NOWAIT", [id_])
    except OperationalError:
        return False
    return True
