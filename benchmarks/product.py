"""CourseHub with users and courses for the benchmarks, all made over REST."""

import itertools
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

from benchmarks.subjects import Request, Saver, Screen
from demo.client import Api, Hear, Json, Listener

USERS = 20
_PASSWORD = secrets.token_urlsafe(16)


class Course:
    """A course's ids as they were when it was made: ``videos`` by chapter."""

    def __init__(self, owner: Api, chapters: int, videos: int) -> None:
        self.id: str = owner.done(owner.post("courses/", {"title": "Measured"}))["steps"][0]["data"]["courseId"]
        self.topic = f"course:{self.id}"
        for first in range(0, chapters, 30):
            changes = _content(range(first, min(first + 30, chapters)), videos)
            owner.done(owner.post(f"courses/{self.id}/save/", {"changes": changes}))
        outline = owner.get(f"courses/{self.id}/outline/").data
        self.chapters = [chapter["id"] for chapter in outline["chapters"]]
        self.videos = [[video["id"] for video in chapter["videos"]] for chapter in outline["chapters"]]


def _content(numbers: range, videos: int) -> list[Json]:
    changes: list[Json] = []
    for number in numbers:
        changes.append({"action": "chapter.create", "tempId": f"c{number}", "title": f"Chapter {number}"})
        changes += [
            {"action": "video.create", "chapterId": f"c{number}", "title": f"Video {number}.{video}"}
            for video in range(videos)
        ]
    return changes


class CourseHub:
    """The product, with users and courses that are made when they are first needed."""

    name = "CourseHub"

    def __init__(self, url: str) -> None:
        self._url = url
        self.owner = _register(url)

    @cached_property
    def users(self) -> list[Api]:
        """All users, the owner of the special courses first."""
        with ThreadPoolExecutor(2) as pool:
            return [self.owner, *pool.map(lambda _: _register(self._url), range(1, USERS))]

    @cached_property
    def own(self) -> Course:
        """The owner's usual course."""
        return Course(self.owner, 4, 5)

    @cached_property
    def each_ones(self) -> list[Course]:
        """One course for each user."""
        return [self.own, *(Course(user, 4, 5) for user in self.users[1:])]

    @cached_property
    def shared(self) -> Course:
        """A course that every user may edit."""
        course = Course(self.owner, USERS, 5)
        for user in self.users[1:]:
            member = {"username": user.user["username"], "role": "editor"}
            self.owner.done(self.owner.post(f"courses/{course.id}/members/", member))
        return course

    @cached_property
    def small(self) -> Course:
        """A course of 50 videos."""
        return Course(self.owner, 1, 50)

    @cached_property
    def large(self) -> Course:
        """A course of 5,000 videos."""
        return Course(self.owner, 100, 50)

    @cached_property
    def mixed(self) -> "Mixed":
        """The course for large saves."""
        return Mixed(self.owner)

    def alone(self) -> list[Saver]:
        """One user, who edits the title of a chapter of their course."""
        return [_titles(self.owner, self.own, 0)]

    def apart(self) -> list[Saver]:
        """Each user on their own course."""
        return [_titles(user, course, 0) for user, course in zip(self.users, self.each_ones, strict=True)]

    def together(self) -> list[Saver]:
        """Each user on a chapter of the one course that they share, with everyone listening."""
        return [_titles(user, self.shared, number) for number, user in enumerate(self.users)]

    def titles(self, course: Course) -> Saver:
        """One user who edits the titles of videos."""
        videos = itertools.cycle(itertools.chain(*course.videos))
        return self._saver(course, "video-update-complete", lambda n: ("PATCH", f"videos/{next(videos)}/", _title(n)))

    def moves(self, course: Course) -> Saver:
        """One user who moves videos to the beginning of the first chapter, from its end."""
        chapter, videos = course.chapters[0], itertools.cycle(course.videos[0][::-1])
        body = {"chapterId": chapter, "position": 0}
        return self._saver(course, "video-move-complete", lambda _: ("POST", f"videos/{next(videos)}/move/", body))

    def deletions(self, course: Course) -> Saver:
        """One user who deletes videos of the first chapter, in the order in which they were made; see `replenish`."""
        videos = iter(course.videos[0])
        return self._saver(course, "video-delete-complete", lambda _: ("DELETE", f"videos/{next(videos)}/", {}))

    def replenish(self, course: Course, number: int) -> None:
        """Put as many new videos into the first chapter as were deleted from it, so that every round finds the same."""
        owner, chapter = self.owner, course.chapters[0]
        changes = [{"action": "video.create", "chapterId": chapter, "title": f"New {n}"} for n in range(number)]
        owner.done(owner.post(f"courses/{course.id}/save/", {"changes": changes}))
        videos = owner.get(f"courses/{course.id}/outline/").data["chapters"][0]["videos"]
        course.videos[0] = [video["id"] for video in videos]

    def batches(self, size: int) -> Saver:
        """One user who saves so many mixed changes at once."""
        self.mixed.replenish()
        return self._saver(self.mixed.course, "batch-operation-complete", lambda _: self.mixed.request(size))

    def _saver(self, course: Course, shown_by: str, request: Callable[[int], Request]) -> Saver:
        return _saver(self.owner, course, shown_by, request)


class Mixed:
    """A course of 100 chapters and 2,500 videos, and saves of many different changes of it that keep its size."""

    def __init__(self, owner: Api) -> None:
        self._owner, self.course = owner, Course(owner, 100, 25)
        chapters, videos = self.course.chapters, self.course.videos
        self._numbers = itertools.count()
        self._kept = {video for inside in videos[:60] for video in inside}
        self._videos, self._chapters = itertools.cycle(sorted(self._kept)), itertools.cycle(chapters[:60])
        self._spare = [video for inside in videos[60:90] for video in inside]
        # The last chapters' lists are only ever reordered: a reorder has to name exactly what is there.
        self._quiet = list(zip(chapters[90:], videos[90:], strict=True))

    def replenish(self) -> None:
        """Take what saves have created into what saves will delete."""
        outline = self._owner.get(f"courses/{self.course.id}/outline/").data
        there = [video["id"] for chapter in outline["chapters"][:60] for video in chapter["videos"]]
        spare = set(self._spare)
        self._spare += [video for video in there if video not in self._kept and video not in spare]

    def request(self, size: int) -> Request:
        """Make a save of so many changes."""
        return "POST", f"courses/{self.course.id}/save/", {"changes": [self._change(n) for n in range(size)]}

    def _change(self, place: int) -> Json:
        number = next(self._numbers)
        if place % 50 == 49:
            return self._reorder(number)
        return self._KINDS[place % len(self._KINDS)](self, number)

    def _rename_video(self, number: int) -> Json:
        return {"action": "video.update", "videoId": next(self._videos), **_title(number)}

    def _rename_file(self, number: int) -> Json:
        return {"action": "video.update", "videoId": next(self._videos), "filename": f"{number}.mp4"}

    def _rename_chapter(self, number: int) -> Json:
        return {"action": "chapter.update", "chapterId": next(self._chapters), **_title(number)}

    def _move(self, _number: int) -> Json:
        return {"action": "video.move", "videoId": next(self._videos), "chapterId": next(self._chapters), "position": 0}

    def _create(self, number: int) -> Json:
        return {"action": "video.create", "chapterId": next(self._chapters), **_title(number)}

    def _delete(self, _number: int) -> Json:
        return {"action": "video.delete", "videoId": self._spare.pop(0)}

    def _edit_course(self, number: int) -> Json:
        return {"action": "course.update", "description": f"Edition {number}"}

    def _reorder(self, number: int) -> Json:
        chapter, videos = self._quiet[number % len(self._quiet)]
        return {
            "action": "video.reorder",
            "chapterId": chapter,
            "videoIds": videos[number % 7 :] + videos[: number % 7],
        }

    _KINDS = (
        *(_rename_video, _rename_file, _rename_chapter, _move, _create),
        *(_delete, _edit_course, _rename_chapter, _move, _rename_video),
    )


def _register(url: str) -> Api:
    return Api(url).register(f"user-{secrets.token_hex(6)}", _PASSWORD)


def _title(number: int) -> Json:
    return {"title": f"A title of about forty characters, {number:05}"}


def _titles(user: Api, course: Course, chapter: int) -> Saver:
    path = f"chapters/{course.chapters[chapter]}/"
    return _saver(user, course, "chapter-update-complete", lambda n: ("PATCH", path, _title(n)))


def _saver(user: Api, course: Course, shown_by: str, request: Callable[[int], Request]) -> Saver:
    return Saver(user.again(), Screen(lambda hear: _listen(user, course, hear)), request, shown_by)


def _listen(user: Api, course: Course, hear: Hear) -> Listener:
    ticket = user.ticket(course.id)
    listener = Listener(ticket["url"], ticket["ticket"], hear=hear)
    listener.subscribe(course.topic)
    return listener
