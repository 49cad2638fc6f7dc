"""The rules of editing, without a database."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core import clock
from apps.courses.outline import RULES, Change, ChapterRow, CourseRow, Outline, Result, VideoRow, apply_all, may
from tests.support.replay import replay

pytestmark = pytest.mark.pure

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)
COURSE = "00000000-0000-7000-8000-000000000000"
OWNER, EDITOR, VIEWER = "owner-id", "editor-id", "viewer-id"


def an_outline(*sizes: int) -> Outline:
    """Make an outline whose n-th chapter, 'c<n>', has so many videos, 'v<n>.<m>'."""
    course = CourseRow(COURSE, OWNER, "Course", "", None, None, 1, NOW, NOW)
    outline = Outline(course, {OWNER: "owner", EDITOR: "editor", VIEWER: "viewer"})
    for n, size in enumerate(sizes):
        outline.chapters[f"c{n}"] = ChapterRow(f"c{n}", f"Chapter {n}", 1, NOW, NOW)
        outline.chapter_order.append(f"c{n}")
        outline.video_order[f"c{n}"] = [f"v{n}.{m}" for m in range(size)]
        for id_ in outline.video_order[f"c{n}"]:
            outline.videos[id_] = VideoRow(id_, f"c{n}", f"Video {id_}", "", "empty", 1, NOW, NOW)
    return outline


def change(action: str, actor: str = OWNER, group: int | None = None, **payload: Any) -> Change:
    return Change(action, actor, {"courseId": COURSE, **payload}, group)


def do(outline: Outline, *changes: Change) -> list[Result]:
    return apply_all(outline, changes, LATER)


def code(result: Result) -> str | None:
    return result.error.code if result.error else None


def shown(outline: Outline, seq: int) -> dict[str, Any]:
    """Render a whole outline as the API does."""
    course = outline.course
    assert course
    times = {"createdAt": clock.to_rfc3339(course.created_at), "updatedAt": clock.to_rfc3339(course.updated_at)}
    fields = {name: getattr(course, name) for name in ("title", "description", "price", "currency", "version")}
    return {
        "course": {"id": course.id, **fields, **times, "deletedAt": clock.to_rfc3339(course.deleted_at)},
        "chapters": [_chapter(outline, id_, place) for place, id_ in enumerate(outline.chapter_order)],
        "topic": f"course:{course.id}",
        "seq": seq,
    }


def _chapter(outline: Outline, id_: str, position: int) -> dict[str, Any]:
    videos = [_row(outline.videos[v], place) for place, v in enumerate(outline.video_order[id_])]
    return _row(outline.chapters[id_], position) | {"videos": videos}


def _row(row: ChapterRow | VideoRow, position: int) -> dict[str, Any]:
    shared = {
        "id": row.id,
        "courseId": COURSE,
        "title": row.title,
        "position": position,
        "version": row.version,
        "createdAt": clock.to_rfc3339(row.created_at),
        "updatedAt": clock.to_rfc3339(row.updated_at),
    }
    if isinstance(row, ChapterRow):
        return shared
    return shared | {"chapterId": row.chapter_id, "filename": row.filename, "status": row.status, "file": None}


def envelopes(results: list[Result]) -> Iterator[dict[str, Any]]:
    events = [event for result in results for event in result.events]
    for seq, event in enumerate(events, start=1):
        yield {"type": event.type, "courseId": COURSE, "seq": seq, "timestamp": clock.to_ms(LATER), "data": event.data}


_CHAPTERS = st.sampled_from(["c0", "c1", "c2", "new0", "new1", "nowhere"])
_VIDEOS = st.sampled_from(["v0.0", "v0.1", "v1.0", "v2.0", "v2.1", "v2.2", "fresh0", "fresh1", "nowhere"])
_POSITION = st.one_of(st.none(), st.integers(0, 5))
_TITLE = st.sampled_from(["A", "B", "Chapter 0", "Video v0.0"])
_VERSION = st.sampled_from([None, None, None, 1, 2])
_ACTOR = st.sampled_from([OWNER, OWNER, EDITOR, VIEWER, "stranger"])


def _some(action: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Change]:
    return st.builds(
        lambda actor, group, payload: Change(action, actor, {"courseId": COURSE, **payload}, group),
        _ACTOR,
        st.sampled_from([None, None, 1, 2]),
        st.fixed_dictionaries(fields),
    )


_CHANGES = st.one_of(
    _some("course.update", title=_TITLE, baseVersion=_VERSION),
    _some("chapter.update", chapterId=_CHAPTERS, title=_TITLE, baseVersion=_VERSION),
    _some("chapter.create", chapterId=st.sampled_from(["new0", "new1"]), title=_TITLE, position=_POSITION),
    _some("chapter.delete", chapterId=_CHAPTERS, known=st.booleans(), baseVersion=_VERSION),
    _some("chapter.reorder", chapterIds=st.permutations(["c0", "c1", "c2"])),
    _some("video.update", videoId=_VIDEOS, title=_TITLE, filename=st.just("f.mp4"), baseVersion=_VERSION),
    _some(
        "video.create",
        videoId=st.sampled_from(["fresh0", "fresh1"]),
        chapterId=_CHAPTERS,
        title=_TITLE,
        filename=st.just(""),
        position=_POSITION,
    ),
    _some("video.delete", videoId=_VIDEOS, known=st.booleans(), knownIn=st.just("c0"), baseVersion=_VERSION),
    _some("video.move", videoId=_VIDEOS, chapterId=_CHAPTERS, position=_POSITION, baseVersion=_VERSION),
    _some("video.reorder", chapterId=st.just("c2"), videoIds=st.permutations(["v2.0", "v2.1", "v2.2"])),
    _some("course.delete"),
    _some("course.restore"),
)


def _without_second_births(changes: list[Change]) -> list[Change]:
    """Ids are made once: a second creation with the same one does not happen."""
    seen: set[str] = set()
    kept = []
    for item in changes:
        name = {"chapter.create": "chapterId", "video.create": "videoId"}.get(item.action)
        if name is None or item.payload[name] not in seen:
            kept.append(item)
            seen |= {item.payload[name]} if name else set()
    return kept


@given(st.lists(_CHANGES, max_size=12).map(_without_second_births))
def test_the_old_outline_and_the_events_give_the_new_outline(changes: list[Change]) -> None:
    outline = an_outline(2, 1, 3)
    before = shown(outline, 0)

    events = list(envelopes(apply_all(outline, changes, LATER)))

    assert replay(before, events) == shown(outline, len(events))


@given(st.lists(_CHANGES, max_size=12).map(_without_second_births))
def test_a_change_that_fails_alters_nothing(changes: list[Change]) -> None:
    outline = an_outline(2, 1, 3)
    for item in changes:
        before = outline.copy()
        (result,) = apply_all(outline, [item], LATER)
        before.unborn = outline.unborn
        assert result.error is None or outline == before


@given(st.lists(_CHANGES, max_size=8).map(_without_second_births))
def test_an_atomic_group_changes_all_or_nothing(changes: list[Change]) -> None:
    outline = an_outline(2, 1, 3)
    before = outline.copy()
    results = apply_all(outline, [replace(item, atomic_group=7) for item in changes], LATER)

    failed = [code(result) for result in results if result.error]
    if failed:
        assert len(failed) == len(results)
        assert failed.count("rolled_back") == len(failed) - 1
        before.unborn = outline.unborn
        assert outline == before


def test_what_builds_on_a_failed_creation_fails_with_it_and_nothing_else_does() -> None:
    outline = an_outline(1)
    results = do(
        outline,
        change("video.create", videoId="fresh0", chapterId="nowhere", title="T", filename=""),
        change("video.update", videoId="fresh0", title="U"),
        change("video.delete", videoId="fresh0", known=True),
        change("chapter.update", chapterId="c0", title="fine"),
    )

    assert [code(result) for result in results] == ["not_found", "dependency_failed", "dependency_failed", None]


def test_what_builds_on_a_rolled_back_creation_fails_too() -> None:
    outline = an_outline(1)
    results = do(
        outline,
        change("chapter.create", group=1, chapterId="new0", title="T"),
        change("chapter.update", group=1, chapterId="nowhere", title="T"),
        change("chapter.update", chapterId="new0", title="T"),
    )

    assert [code(result) for result in results] == ["rolled_back", "not_found", "dependency_failed"]
    assert outline.chapter_order == ["c0"]


def test_what_was_there_when_asked_for_and_is_gone_is_deleted_already() -> None:
    outline = an_outline(1)
    results = do(
        outline,
        change("chapter.delete", chapterId="c0", known=True),
        change("chapter.delete", chapterId="c0", known=True),
        change("video.delete", videoId="v0.0", known=True, knownIn="c0"),
        change("video.delete", videoId="nowhere", known=False),
        change("video.update", videoId="v0.0", title="x"),
    )

    assert [code(result) for result in results] == [None, None, None, "not_found", "not_found"]
    assert [result.data.get("alreadyGone") for result in results[:3]] == [None, True, True]
    assert results[2].events[0].data == {"videoId": "v0.0", "chapterId": "c0"}


def test_a_stale_version_says_which_is_current() -> None:
    outline = an_outline(1)
    results = do(
        outline,
        change("chapter.update", chapterId="c0", title="A", baseVersion=1),
        change("chapter.update", chapterId="c0", title="B", baseVersion=1),
        change("video.delete", videoId="v0.0", known=True, baseVersion=3),
        change("course.update", title="C", baseVersion=2),
    )

    assert [code(result) for result in results] == [None] + ["version_conflict"] * 3
    assert [result.error.extra["currentVersion"] for result in results[1:] if result.error] == [2, 1, 1]
    assert outline.chapters["c0"].title == "A"


@pytest.mark.parametrize("action", sorted(RULES))
def test_each_role_may_do_what_it_may(action: str) -> None:
    owners = {"course.delete", "course.restore", "member.set", "member.remove"}
    assert may("owner", action)
    assert may("editor", action) is (action not in owners)
    assert not may("viewer", action)


def test_a_deleted_course_takes_no_change_but_its_restoration() -> None:
    outline = an_outline(1)
    results = do(
        outline,
        change("course.delete"),
        change("chapter.update", chapterId="c0", title="x"),
        change("course.delete"),
        change("course.restore"),
        change("chapter.update", chapterId="c0", title="x"),
    )

    assert [code(result) for result in results] == [None, "gone", None, None, None]
    assert results[2].data["alreadyGone"] is True
    assert results[0].events[0].also_to == tuple(sorted([OWNER, EDITOR, VIEWER]))


def test_a_course_that_never_was_says_whether_its_creation_failed() -> None:
    assert code(do(Outline(None), change("chapter.update", chapterId="c0", title="x"))[0]) == "not_found"
    unborn = Outline(None, unborn={COURSE})
    assert code(do(unborn, change("chapter.update", chapterId="c0", title="x"))[0]) == "dependency_failed"


def test_members_are_set_and_removed_and_the_owner_stays() -> None:
    outline = an_outline()
    results = do(
        outline,
        change("member.set", userId="new", role="viewer"),
        change("member.remove", VIEWER, userId=VIEWER),
        change("member.remove", EDITOR, userId="new"),
        change("member.remove", userId=OWNER),
        change("member.set", userId=OWNER, role="viewer"),
        change("member.remove", userId="nobody"),
    )

    assert [code(result) for result in results] == [None, None, "permission_denied", "conflict", "conflict", None]
    assert results[1].revoked == (VIEWER,)
    assert results[0].events[0].also_to == ("new", OWNER)
    assert results[5].data["alreadyGone"] is True
    assert outline.members == {OWNER: "owner", EDITOR: "editor", "new": "viewer"}


def test_who_leaves_while_being_removed_is_gone_already() -> None:
    outline = an_outline()
    results = do(outline, change("member.remove", userId=VIEWER), change("member.remove", VIEWER, userId=VIEWER))

    assert [code(result) for result in results] == [None, None]
    assert results[1].data["alreadyGone"] is True


def test_a_list_that_names_something_unborn_says_so() -> None:
    outline = an_outline(0, 0)
    outline.unborn = {"new0"}
    results = do(
        outline,
        change("chapter.reorder", chapterIds=["c1", "c0", "new0"]),
        change("chapter.reorder", chapterIds=["c1", "c1"]),
    )
    assert [code(result) for result in results] == ["dependency_failed", "conflict"]
