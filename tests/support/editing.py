"""Random edits of a course, as people make them who look at an outline that may be old by now."""

import random
from collections.abc import Callable

from demo.client import Json

Edit = Callable[[random.Random, Json], Json]


def random_changes(rng: random.Random, outline: Json, most: int = 6) -> list[Json]:
    """A save: some changes of what the outline shows, and of what earlier changes of the save create."""
    changes = [rng.choice(_EDITS)(rng, outline) for _ in range(rng.randint(1, most))]
    if rng.random() < 0.3:
        changes += _new_chapter_with_content(rng, outline)
    return [change for change in changes if change]


def _chapter(rng: random.Random, outline: Json) -> Json | None:
    return rng.choice(outline["chapters"]) if outline["chapters"] else None


def _video(rng: random.Random, outline: Json) -> Json | None:
    videos = [video for chapter in outline["chapters"] for video in chapter["videos"]]
    return rng.choice(videos) if videos else None


def _title(rng: random.Random) -> str:
    return f"{rng.choice(('Roots', 'Blätter', 'Цветы', '花'))} {rng.randrange(10_000)}"


def _edit_course(rng: random.Random, outline: Json) -> Json:
    return {"action": "course.update", rng.choice(("title", "description")): _title(rng)}


def _create_chapter(rng: random.Random, outline: Json) -> Json:
    return {"action": "chapter.create", "title": _title(rng), "position": rng.randrange(8)}


def _rename_chapter(rng: random.Random, outline: Json) -> Json:
    chapter = _chapter(rng, outline)
    return {"action": "chapter.update", "chapterId": chapter["id"], "title": _title(rng)} if chapter else {}


def _delete_chapter(rng: random.Random, outline: Json) -> Json:
    chapter = _chapter(rng, outline)
    return {"action": "chapter.delete", "chapterId": chapter["id"]} if chapter and rng.random() < 0.3 else {}


def _reorder_chapters(rng: random.Random, outline: Json) -> Json:
    ids = [chapter["id"] for chapter in outline["chapters"]]
    rng.shuffle(ids)
    return {"action": "chapter.reorder", "chapterIds": ids} if ids else {}


def _create_video(rng: random.Random, outline: Json) -> Json:
    chapter = _chapter(rng, outline)
    return {"action": "video.create", "chapterId": chapter["id"], "title": _title(rng)} if chapter else {}


def _rename_video(rng: random.Random, outline: Json) -> Json:
    video = _video(rng, outline)
    if not video:
        return {}
    base = {"baseVersion": video["version"]} if rng.random() < 0.3 else {}
    return {"action": "video.update", "videoId": video["id"], rng.choice(("title", "filename")): _title(rng), **base}


def _delete_video(rng: random.Random, outline: Json) -> Json:
    video = _video(rng, outline)
    return {"action": "video.delete", "videoId": video["id"]} if video else {}


def _move_video(rng: random.Random, outline: Json) -> Json:
    video, chapter = _video(rng, outline), _chapter(rng, outline)
    if not video or not chapter:
        return {}
    return {"action": "video.move", "videoId": video["id"], "chapterId": chapter["id"], "position": rng.randrange(5)}


def _reorder_videos(rng: random.Random, outline: Json) -> Json:
    chapter = _chapter(rng, outline)
    if not chapter:
        return {}
    ids = [video["id"] for video in chapter["videos"]]
    rng.shuffle(ids)
    return {"action": "video.reorder", "chapterId": chapter["id"], "videoIds": ids}


def _new_chapter_with_content(rng: random.Random, outline: Json) -> list[Json]:
    video = _video(rng, outline)
    moved = [{"action": "video.move", "videoId": video["id"], "chapterId": "new"}] if video else []
    return [
        {"action": "chapter.create", "tempId": "new", "title": _title(rng), "position": 0},
        {"action": "video.create", "tempId": "first", "chapterId": "new", "title": _title(rng)},
        *moved,
        {"action": "video.update", "videoId": "first", "title": _title(rng)},
    ]


_EDITS: tuple[Edit, ...] = (
    _edit_course,
    _create_chapter,
    _rename_chapter,
    _rename_chapter,
    _delete_chapter,
    _reorder_chapters,
    _create_video,
    _create_video,
    _rename_video,
    _rename_video,
    _delete_video,
    _move_video,
    _move_video,
    _reorder_videos,
)
