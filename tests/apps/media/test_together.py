"""
Everyone at once: what is true of links, counts, totals and the trash stays true, whoever does what at the same time.

Two people have a library each and edit two courses together. In each round Hypothesis has them ask for several things;
then all four lanes are run at the same moment, each by a thread with a connection of its own.
"""

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from apps.core import sql
from apps.media import chores
from apps.media.models import Media, MediaLink
from apps.operations import runner
from tests.support.api import Answer, ApiClient, a_user
from tests.support.library import a_file

FILES, ROLES = 3, ("attachment", "source", "thumbnail")
_numbers = itertools.count()
indexes = st.integers(0, 5)


class People(RuleBasedStateMachine):
    """Two people, their files, and two courses that both may edit."""

    def __init__(self) -> None:
        super().__init__()
        number = next(_numbers)
        self.users = [a_user(f"{name}{number}") for name in ("ann", "ben")]
        self.apis = [ApiClient(user) for user in self.users]
        self.courses = [api.course() for api in self.apis]
        self.lanes = [f"course:{id_}" for id_ in self.courses] + [f"user:{user.pk}" for user in self.users]
        self.asked: list[Answer] = []
        self.run()
        for api, course, other in zip(self.apis, self.courses, reversed(self.users), strict=True):
            api.post(f"courses/{course}/members/", {"username": other.username, "role": "editor"})
            self.asked.append(self._chapter(api, course))
        self.files = [(who, a_file(user)) for who, user in enumerate(self.users) for _ in range(FILES)]
        self.deadlocks = _deadlocks()
        self.run()

    def run(self) -> None:
        """Run every lane, all at once."""
        _all_at_once([_running(lane) for lane in self.lanes] + [chores.purge_old])
        _all_at_once([_running(lane) for lane in self.lanes])
        self.asked.clear()

    def _chapter(self, api: ApiClient, course: str) -> Answer:
        video = {"action": "video.create", "chapterId": "c", "title": "V"}
        changes = [{"action": "chapter.create", "tempId": "c", "title": "C"}, video, video]
        return api.post(f"courses/{course}/save/", {"changes": changes})

    def _targets(self) -> list[tuple[str, str]]:
        found = sql.rows(_TARGETS, [self.courses] * 3)
        return [(str(type_), str(id_)) for type_, id_ in found]

    def _ask(self, answer: Answer) -> None:
        assert answer.status < 500, answer.body
        self.asked.append(answer)

    # What they ask for

    @rule(file=indexes, at=indexes, role=st.sampled_from(ROLES))
    def link(self, file: int, at: int, role: str) -> None:
        who, id_ = self.files[file]
        targets = self._targets()
        type_, target = targets[at % len(targets)]
        self._ask(self.apis[who].post(f"media/{id_}/links/", {"targetType": type_, "targetId": target, "role": role}))

    @rule(which=indexes, who=st.integers(0, 1))
    def unlink(self, which: int, who: int) -> None:
        links = MediaLink.objects.filter(home__in=self.courses).order_by("id")
        if links:
            self._ask(self.apis[who].delete(f"media-links/{links[which % len(links)].pk}/"))

    @rule(file=indexes, force=st.booleans())
    def delete(self, file: int, force: bool) -> None:
        who, id_ = self.files[file]
        self._ask(self.apis[who].delete(f"media/{id_}/?force={str(force).lower()}"))

    @rule(file=indexes, links=st.sampled_from(["none", "all"]))
    def restore(self, file: int, links: str) -> None:
        who, id_ = self.files[file]
        self._ask(self.apis[who].post(f"media/{id_}/restore/", {"restoreLinks": links}))

    @rule(file=indexes)
    def purge_and_replace(self, file: int) -> None:
        who, id_ = self.files[file]
        self._ask(self.apis[who].post(f"media/{id_}/purge/"))
        if not Media.objects.filter(pk=id_).exists():
            self.files[file] = who, a_file(self.users[who])

    @rule(who=st.integers(0, 1), verb=st.sampled_from(["delete", "restore", "purge"]))
    def in_bulk(self, who: int, verb: str) -> None:
        ids = [id_ for owner, id_ in self.files if owner == who]
        more = {"delete": {"force": True}, "restore": {"restoreLinks": "all"}, "purge": {}}
        self._ask(self.apis[who].post(f"media/bulk/{verb}/", {"mediaIds": ids, **more[verb]}))

    @rule(at=indexes, who=st.integers(0, 1))
    def delete_target(self, at: int, who: int) -> None:
        targets = [(type_, id_) for type_, id_ in self._targets() if type_ != "course"]
        if targets:
            type_, id_ = targets[at % len(targets)]
            self._ask(self.apis[who].delete(f"{type_}s/{id_}/"))

    @rule(which=st.integers(0, 1))
    def delete_course(self, which: int) -> None:
        self._ask(self.apis[which].delete(f"courses/{self.courses[which]}/"))

    @rule(which=st.integers(0, 1))
    def restore_course(self, which: int) -> None:
        self._ask(self.apis[which].post(f"courses/{self.courses[which]}/restore/"))

    @rule(which=st.integers(0, 1), who=st.integers(0, 1))
    def add_targets(self, which: int, who: int) -> None:
        self._ask(self._chapter(self.apis[who], self.courses[which]))

    # What happens, and what is true then

    @rule()
    def all_at_once(self) -> None:
        self.run()
        self.check()

    @rule(file=indexes)
    def deletion_and_restoration_cancel_out(self, file: int) -> None:
        self.run()
        who, id_ = self.files[file]
        if not Media.objects.filter(pk=id_, deleted_at=None).exists():
            return
        before = _links(id_)
        self.apis[who].delete(f"media/{id_}/?force=true")
        runner.run_lane(self.lanes[2 + who])
        assert _links(id_) == []
        self.apis[who].post(f"media/{id_}/restore/", {"restoreLinks": "all"})
        runner.run_lane(self.lanes[2 + who])
        assert _links(id_) == before

    @rule(which=st.integers(0, 1))
    def a_courses_deletion_and_restoration_cancel_out(self, which: int) -> None:
        self.run()
        course = self.courses[which]
        if self.apis[which].get(f"courses/{course}/").data["deletedAt"]:
            return
        before = _links_within(course)
        for verb in ("delete", "restore"):
            path = f"courses/{course}/"
            self._ask(self.apis[which].delete(path) if verb == "delete" else self.apis[which].post(f"{path}restore/"))
            _all_at_once([_running(lane) for lane in self.lanes[:2]])
        assert _links_within(course) == before

    @invariant()
    def check(self) -> None:
        for name, statement in _NEVER.items():
            assert not sql.rows(statement, []), name
        assert _deadlocks() == self.deadlocks

    def teardown(self) -> None:
        self.run()
        self.check()
        for who, api in enumerate(self.apis):
            shown = {
                usage: {row["id"] for row in api.get(f"media/?usage={usage}").data} for usage in ("used", "unused")
            }
            living = [id_ for owner, id_ in self.files if owner == who and Media.objects.filter(pk=id_, trashed=False)]
            used = {id_ for id_ in living if _links(id_)}
            assert shown["used"] == used
            assert shown["unused"] >= set(living) - used and not shown["unused"] & used


def _running(lane: str) -> Callable[[], object]:
    return lambda: runner.run_lane(lane)


def _all_at_once(jobs: Sequence[Callable[[], object]]) -> None:
    """Begin jobs at one moment, each in a thread with a connection of its own; whatever one raises fails the test."""
    start, raised = threading.Barrier(len(jobs)), []

    def do(job: Callable[[], object]) -> None:
        try:
            start.wait()
            job()
        except Exception as error:
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=do, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def _links(media: str) -> list[Any]:
    rows = MediaLink.objects.filter(media=media).order_by("id")
    return list(rows.values_list("id", "course", "chapter", "video", "role", "position", "created_at"))


def _links_within(course: str) -> list[Any]:
    return list(MediaLink.objects.filter(home=course).order_by("id").values_list("id", "media", "role", "position"))


def _deadlocks() -> int:
    found: int = sql.rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()", [])[0][0]
    return found


_TARGETS = """
    SELECT 'course', id FROM courses_course WHERE id = ANY(%s::uuid[])
    UNION ALL SELECT 'chapter', id FROM courses_chapter WHERE course_id = ANY(%s::uuid[])
    UNION ALL SELECT 'video', id FROM courses_video WHERE course_id = ANY(%s::uuid[])
    ORDER BY 2
"""
_NEVER = {
    "a count that is not the number of links": """
        SELECT id FROM media_media media
        WHERE link_count <> (SELECT count(*) FROM media_medialink WHERE media_id = media.id)
    """,
    "a link of a file in the trash": """
        SELECT link.id FROM media_medialink link JOIN media_media media ON media.id = media_id
        WHERE media.deleted_at IS NOT NULL
    """,
    "a link into a deleted course": """
        SELECT link.id FROM media_medialink link JOIN courses_course course ON course.id = home_id
        WHERE course.deleted_at IS NOT NULL
    """,
    "a link whose home is not its target's course": """
        SELECT link.id FROM media_medialink link LEFT JOIN courses_chapter chapter ON chapter.id = link.chapter_id
            LEFT JOIN courses_video video ON video.id = link.video_id
        WHERE home_id <> coalesce(link.course_id, chapter.course_id, video.course_id)
    """,
    "a deletion of what is not deleted, or of nothing": """
        SELECT deletion.id FROM media_deletion deletion LEFT JOIN media_media media ON media.id = media_id
            LEFT JOIN courses_course course ON course.id = course_id
        WHERE media.deleted_at IS NULL AND course.deleted_at IS NULL
    """,
    "totals that are not those of the files": """
        SELECT owner_id, category, trashed, count(*), sum(size) FROM media_media GROUP BY 1, 2, 3
        EXCEPT SELECT owner_id, category, trashed, count, bytes FROM media_librarytotal
    """,
    "a file that was used and does not say when": """
        SELECT media.id FROM media_media media WHERE link_count > 0 AND last_used_at IS NULL
    """,
}


@pytest.fixture
def no_days_in_the_trash(settings: Any) -> None:
    """Have the relay purge whatever is in the trash when it looks."""
    settings.MEDIA_TRASH_DAYS = 0


def test_nothing_that_people_do_at_once_makes_counts_wrong_or_locks_them_up(no_days_in_the_trash: None) -> None:
    run_state_machine_as_test(
        People,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
