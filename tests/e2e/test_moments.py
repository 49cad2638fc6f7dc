"""What may be built upon at once may be built upon at any moment: while the worker is at it, and when it is done."""

from concurrent.futures import ThreadPoolExecutor

from demo.client import Answer, Api
from tests.support.stack import Cast, Course

PEOPLE, ROUNDS = 4, 25


def test_what_was_just_asked_for_can_be_built_upon_at_any_moment(cast: Cast) -> None:
    def build_again_and_again(user: Api) -> list[Answer]:
        return [answer for _ in range(ROUNDS) for answer in build(user)]

    with ThreadPoolExecutor(PEOPLE) as pool:
        users = [cast.owner.again() for _ in range(PEOPLE)]
        answers = list(pool.map(build_again_and_again, users))

    for user, answered in zip(users, answers, strict=True):
        for answer in answered:
            user.done(answer)


def build(user: Api) -> list[Answer]:
    """Make a course with a chapter and a video, each on top of what was asked for a moment ago."""
    answers = [user.post("courses/", {"title": "x"})]
    course = Course(answers[0].data["courseId"])
    answers.append(user.patch(course.path, {"title": "y", "baseVersion": 1}))
    answers.append(user.patch(course.path, {"title": "z", "baseVersion": 2}))
    answers.append(user.post(f"{course.path}chapters/", {"title": "x"}))
    chapter = answers[-1].data["chapterId"]
    answers.append(user.patch(f"chapters/{chapter}/", {"title": "y", "baseVersion": 1}))
    answers.append(user.post(f"chapters/{chapter}/videos/", {"title": "x"}))
    video = answers[-1].data["videoId"]
    answers.append(user.post(f"chapters/{chapter}/videos/reorder/", {"videoIds": [video]}))
    answers.append(user.post(f"{course.path}chapters/", {"title": "y"}))
    second = answers[-1].data["chapterId"]
    answers.append(user.post(f"videos/{video}/move/", {"chapterId": second}))
    answers.append(user.post(f"{course.path}chapters/reorder/", {"chapterIds": [second, chapter]}))
    answers.append(course.save(user, {"action": "video.delete", "videoId": video}))
    return answers
