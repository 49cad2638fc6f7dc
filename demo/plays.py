"""The use cases of course editing, B1 to B11, each as short as a front end's code for it would be."""

from demo import books, changes, library, uploads
from demo.books import Book
from demo.changes import Expected
from demo.client import Answer, Json
from demo.stage import Stage, Wrong

ROUNDS = 10
SINGLE_EDITS = frozenset({"B1", "B2", "B3", "B4", "B6"})
"""The use cases in which one request asks for one change, and waits for its event."""


def play(stage: Stage) -> None:
    """Play everything, the edits on the longest of the courses."""
    for book in reversed(books.load()):
        create_a_course(stage, book)
    outsider_is_kept_out(stage)
    for use_case in USE_CASES:
        use_case(stage)


def create_a_course(stage: Stage, book: Book) -> None:
    stage.begin("B8 create a course, let a viewer in, fill it with one save")
    stage.board.note(f"{book.title}, {book.licence}: {len(book.chapters)} chapters, {book.sections} videos")
    body = {"title": book.title, "description": f"{book.source} ({book.licence}, {book.attribution})"}
    answer = stage.wait(stage.request("POST", "courses/", body, lambda answer: _created(stage, answer)))
    stage.course_id = answer.data["courseId"]
    for tab in stage.tabs:
        tab.show(stage.course_id)
    member = {"username": stage.viewer.user["username"], "role": "viewer"}
    path = f"courses/{stage.course_id}/members/"
    stage.wait(stage.request("POST", path, member, _member_changed(stage, "viewer")))
    stage.phone.show(stage.course_id)
    stage.save(books.as_changes(book))


def outsider_is_kept_out(stage: Stage) -> None:
    stage.begin("G1 nobody else may look, listen or change")
    course, chapter = f"courses/{stage.course_id}/", stage.copy.chapters[0]["id"]
    stage.refused(404, stage.outsider, "GET", f"{course}outline/")
    stage.refused(404, stage.outsider, "GET", f"topics/{stage.topic}/events/?after=0")
    stage.refused(404, stage.outsider, "POST", "realtime/tickets/", {"courseIds": [stage.course_id]})
    stage.refused(404, stage.outsider, "PATCH", f"chapters/{chapter}/", {"title": "Mine"})
    stage.refused(403, stage.viewer, "PATCH", f"chapters/{chapter}/", {"title": "Mine"})
    listener = stage.stranger.listener
    assert listener
    listener.send({"type": "subscribe", "topic": stage.topic, "since": 0})
    refusal = listener.wait_for(lambda frame: frame["type"] == "error")
    stage.board.note(f"outsider: subscribe is refused with {refusal['code']}")


def edit_chapter_titles(stage: Stage) -> None:
    stage.begin("B1 edit a chapter's title")
    for chapter in stage.copy.chapters[:ROUNDS]:
        stage.do(_rename_chapter(chapter, f"{chapter['title']}, revised"))
    stale = {"title": "Too late", "baseVersion": 1}
    stage.refused(409, stage.owner, "PATCH", f"chapters/{stage.copy.chapters[0]['id']}/", stale)


def add_empty_chapters(stage: Stage) -> None:
    stage.begin("B2 add an empty chapter")
    for number in range(3):
        stage.do({"action": "chapter.create", "tempId": f"new-{number}", "title": f"Appendix {number + 1}"})
    stage.do({"action": "chapter.create", "tempId": "first", "title": "Preface", "position": 0})


def delete_chapters(stage: Stage) -> None:
    stage.begin("B3 delete a chapter, its videos with it")
    for chapter in (stage.copy.chapters[0], stage.copy.chapters[7]):
        stage.do({"action": "chapter.delete", "chapterId": chapter["id"]})


def edit_videos(stage: Stage) -> None:
    stage.begin("B4 edit a video's title or filename")
    for video in stage.copy.chapters[4]["videos"][:5]:
        stage.do(_rename_video(video, f"{video['title']} (remastered)"))
        stage.do({"action": "video.update", "videoId": video["id"], "filename": f"lesson-{video['position']}.mp4"})


def delete_videos(stage: Stage) -> None:
    stage.begin("B5 delete videos, one or several")
    one, *several = stage.copy.chapters[5]["videos"][:4]
    stage.do({"action": "video.delete", "videoId": one["id"]})
    stage.save([{"action": "video.delete", "videoId": video["id"]} for video in several])


def move_videos_while_the_phone_is_away(stage: Stage) -> None:
    stage.begin("B6 move a video to another chapter, while the phone is in a tunnel")
    stage.phone.disconnect()
    source, target = stage.copy.chapters[8], stage.copy.chapters[9]
    for position, video in enumerate(source["videos"][:3]):
        stage.do({"action": "video.move", "videoId": video["id"], "chapterId": target["id"], "position": position})
    last = target["videos"][-1]
    stage.do({"action": "video.move", "videoId": last["id"], "chapterId": target["id"], "position": 0})
    stage.phone.connect()
    resumed = [frame for frame in stage.phone.frames if frame.get("topic") == stage.topic][-1]
    stage.board.note(f"phone: back, {resumed['replayed']} events replayed, recovered: {resumed['recovered']}")
    stage.do(_rename_chapter(target, "Heard by the phone again"))


def reorder_many_at_once(stage: Stage) -> None:
    stage.begin("B7 reorder chapters and videos, many at once")
    chapters = stage.copy.chapters
    stage.do({"action": "chapter.reorder", "chapterIds": _ids(chapters[::-1])})
    lists = [chapter for chapter in chapters if len(chapter["videos"]) > 1][:6]
    stage.save(
        [
            {"action": "chapter.reorder", "chapterIds": _ids(chapters)},
            *({"action": "video.reorder", "chapterId": c["id"], "videoIds": _ids(c["videos"][::-1])} for c in lists),
        ]
    )


def edit_delete_and_restore_a_course(stage: Stage) -> None:
    stage.begin("B8 edit a course's info, delete it, restore it")
    stage.do({"action": "course.update", "price": "19.90", "currency": "EUR"})
    stage.do({"action": "course.update", "title": "A course with another title"})
    course = f"courses/{stage.course_id}/"
    for method, path, type_ in (("DELETE", course, "delete"), ("POST", f"{course}restore/", "restore")):
        everyone = _to_everyone(stage, f"course-{type_}-complete", {"courseId": stage.course_id})
        stage.wait(stage.request(method, path, {}, everyone))
        if type_ == "delete":
            stage.refused(410, stage.owner, "PATCH", course, {"title": "Too late"})
            stage.refused(404, stage.viewer, "GET", f"{course}outline/")


def mix_changes(stage: Stage) -> None:
    stage.begin("B9 mixed saves, each with one end")
    c = stage.copy.chapters
    stage.save([_rename_chapter(c[0], "Fresh title"), *(_rename_video(v, "New name") for v in c[0]["videos"][:3])])
    stage.save(
        [
            {"action": "chapter.create", "tempId": "c", "title": "Made in this save", "position": 1},
            *({"action": "video.create", "tempId": f"v{n}", "chapterId": "c", "title": f"Clip {n}"} for n in range(4)),
            {"action": "video.move", "videoId": "v3", "chapterId": "c", "position": 0},
            _rename_chapter({"id": "c"}, "Made and renamed in this save"),
        ]
    )
    delete = {"action": "chapter.delete", "chapterId": c[3]["id"]}
    stage.save([delete, *(_rename_chapter(chapter, f"Part {n}") for n, chapter in enumerate(c[4:9], 4))])
    stage.save([{"action": "course.update", "description": "Revised"}, _rename_chapter(c[10], "Likewise")])


def share_an_operation(stage: Stage) -> None:
    stage.begin("A2 one operation of three requests, one end")
    key, chapters = f"shared-{stage.run}", stage.copy.chapters[11:14]
    for number, chapter in enumerate(chapters, 1):
        change = _rename_chapter(chapter, f"Shared {number}")
        told = [changes.event_of(change, stage.topic, {}, {})]
        end = [changes.end_of(stage.topic, succeeded=3)] if number == len(chapters) else []
        body = {"title": change["title"], "expect": 3, "stepId": f"step-{number}"}
        path = f"chapters/{chapter['id']}/"
        asked = stage.request("PATCH", path, body, [*told, *end], operation_id=key)
    first = stage.wait(asked)
    again = stage.owner.request("PATCH", path, body, {"Operation-Id": key})
    if again.body != first.body:
        raise Wrong(f"A repeated request was answered with {again.body} instead of {first.body}.")
    stage.board.note("the last request sent again: the same answer, and nothing done twice")


def save_what_fails_in_part(stage: Stage) -> None:
    stage.begin("A6 a save of which one change fails, and says why")
    good, stale = stage.copy.chapters[0], stage.copy.chapters[1]
    wanted = [_rename_chapter(good, "Saved"), {**_rename_chapter(stale, "Not saved"), "baseVersion": 999}]
    failed = Expected(stage.topic, "operation-failed", {"stepId": "1.1", "action": "chapter.update"})
    told = [changes.event_of(wanted[0], stage.topic, {}, {}), failed]
    told.append(changes.end_of(stage.topic, succeeded=1, failed=1))
    path = f"courses/{stage.course_id}/save/"
    stage.wait(stage.request("POST", path, {"changes": wanted}, told))


def autosave_twice_quickly(stage: Stage) -> None:
    stage.begin("B11 auto-save on blur: A, then B, without waiting")
    for video in stage.copy.chapters[15]["videos"][:ROUNDS] * 2:
        stage.ask(_rename_video(video, "A"))
        stage.wait(stage.ask(_rename_video(video, "B")))
        title = stage.owner.get(f"videos/{video['id']}/").data["title"]
        if title != "B":
            raise Wrong(f"After A and then B the title is {title}.")


def show_the_viewer_out(stage: Stage) -> None:
    stage.begin("G1 a viewer who is removed hears no more")
    path = f"courses/{stage.course_id}/members/{stage.viewer.user['id']}/"
    stage.phone.hearings[stage.topic].until = stage.copy.seq + 1
    stage.wait(stage.request("DELETE", path, {}, _member_changed(stage, None)))
    listener = stage.phone.listener
    assert listener
    told = listener.wait_for(lambda f: f["type"] == "unsubscribed" and f["topic"] == stage.topic, seconds=2)
    stage.board.note(f"phone: unsubscribed, {told['code']}")
    stage.refused(404, stage.viewer, "POST", "realtime/tickets/", {"courseIds": [stage.course_id]})
    stage.do(_rename_chapter(stage.copy.chapters[0], "Not for the phone"))


USE_CASES = (
    edit_chapter_titles,
    add_empty_chapters,
    delete_chapters,
    edit_videos,
    delete_videos,
    move_videos_while_the_phone_is_away,
    reorder_many_at_once,
    edit_delete_and_restore_a_course,
    mix_changes,
    share_an_operation,
    save_what_fails_in_part,
    autosave_twice_quickly,
    uploads.upload_films_in_a_mixed_save,
    library.keep_a_library,
    show_the_viewer_out,
)


def _rename_chapter(chapter: Json, title: str) -> Json:
    return {"action": "chapter.update", "chapterId": chapter["id"], "title": title}


def _rename_video(video: Json, title: str) -> Json:
    return {"action": "video.update", "videoId": video["id"], "title": title}


def _ids(items: list[Json]) -> list[str]:
    return [item["id"] for item in items]


def _created(stage: Stage, answer: Answer) -> list[Expected]:
    """A creation is told on the new course's topic, and on its owner's, who cannot have subscribed to the other yet."""
    data = {"courseId": answer.data["courseId"]}
    owner = f"user:{stage.owner.user['id']}"
    return [Expected(topic, "course-create-complete", data) for topic in (f"course:{data['courseId']}", owner)]


def _member_changed(stage: Stage, role: str | None) -> list[Expected]:
    """A change of membership is told on the course's topic, and to the member and the owner on theirs."""
    data = {"courseId": stage.course_id, "userId": stage.viewer.user["id"], "role": role}
    return _to_everyone(stage, "course-member-update-complete", data)


def _to_everyone(stage: Stage, type_: str, data: Json) -> list[Expected]:
    users = [f"user:{api.user['id']}" for api in (stage.owner, stage.viewer)]
    return [Expected(topic, type_, data) for topic in (stage.topic, *users)]
