"""The best test here: take a snapshot, save anything, apply the events to the snapshot; it equals a new snapshot."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api import ApiClient, events_of
from tests.support.replay import replay

_ACTIONS = [
    *("course.update", "chapter.create", "chapter.update", "chapter.delete", "chapter.reorder"),
    *("video.create", "video.update", "video.delete", "video.move", "video.reorder"),
]
_PLACE = st.integers(0, 6)
_TITLE = st.sampled_from(["A", "B", "C"])


def _pick(items: list[str], draw: st.DrawFn, temps: list[str]) -> str:
    return draw(st.sampled_from([*items, *temps, "0190a8c4-7b1e-7c3a-9d2e-5f6a7b8c9d0e"]))


@st.composite
def _changes(draw: st.DrawFn, outline: Any) -> list[dict[str, Any]]:
    """Draw changes that mostly make sense: of what is there, of what earlier changes create, or of nothing."""
    chapters = [chapter["id"] for chapter in outline["chapters"]]
    videos = [video["id"] for chapter in outline["chapters"] for video in chapter["videos"]]
    new_chapters: list[str] = []
    new_videos: list[str] = []
    changes: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 10))):
        action = draw(st.sampled_from(_ACTIONS))
        change: dict[str, Any] = {"action": action}
        if action in ("chapter.update", "chapter.delete", "video.create", "video.move", "video.reorder"):
            change["chapterId"] = _pick(chapters, draw, new_chapters)
        if action in ("video.update", "video.delete", "video.move"):
            change["videoId"] = _pick(videos, draw, new_videos)
        if action.endswith((".update", ".create")):
            change["title"] = draw(_TITLE)
        if action.endswith((".create", ".move")):
            change["position"] = draw(_PLACE)
        if action.endswith(".create"):
            change["tempId"] = f"t{number}"
            (new_chapters if action.startswith("chapter") else new_videos).append(f"t{number}")
        if action == "chapter.reorder":
            change["chapterIds"] = draw(st.permutations([*chapters, *new_chapters]))
        if action == "video.reorder":
            home = [c for c in outline["chapters"] if c["id"] == change["chapterId"]]
            change["videoIds"] = draw(st.permutations([v["id"] for c in home for v in c["videos"]]))
        changes.append(change)
    return changes


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_snapshot_and_the_events_since_give_the_next_snapshot(live: ApiClient, data: st.DataObject) -> None:
    course = live.course()
    for size in (2, 0, 3):
        chapter = live.chapter(course)
        for _ in range(size):
            live.video(chapter)
    before = live.outline(course)
    for _ in range(2):
        changes = data.draw(_changes(live.outline(course)))
        answer = live.post(f"courses/{course}/save/", {"changes": changes, "atomic": data.draw(st.booleans())})
        assert answer.status == 202

    assert replay(before, events_of(course)) == live.outline(course)
