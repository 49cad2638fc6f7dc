"""
What files are linked to, and what becomes of links when it goes or returns.

A chapter's or video's links go for good, as it does. A course's go into its deletion's snapshot and return with it,
each if its file still lives; the link of a file that is in the trash by then waits for the file instead. What cannot
be where it was is forgotten: it never keeps a course from returning.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from apps.core import sql
from apps.courses.presence import Going
from apps.media import links, store
from apps.media.library import SINGLE_ROLES, LinkRow, Place
from apps.media.models import Deletion
from apps.media.rules import CONFLICT, TARGET_GONE, fits
from apps.operations.models import Step
from apps.outbox.emit import Draft
from broadcast.contracts import events, topics


class Usage:
    """Keeps links right when courses, chapters and videos come and go (`apps.courses.presence`)."""

    def going(self, what: Going, now: datetime) -> Sequence[tuple[Step, Draft]]:
        """Remove the links to what goes; those of a whole course are kept for its return."""
        courses = [what.course_id] if what.course else []
        concerned = links.within(courses, list(what.chapters), list(what.videos))
        if what.course:
            links.begin_course_deletions({what.course_id}, now)
        if not concerned:
            return []
        files = _lock_files(concerned)
        found = links.within(courses, list(what.chapters), list(what.videos))
        doers = _doers(what, found)
        # They are counted down in the order in which their owners hear of them.
        found.sort(key=lambda link: (doers[link.id].pk, link.id))
        links.delete(found)
        _keep(what, [link for link in found if doers[link.id] is what.course])
        _record("media.unlink", [(doers[link.id], link) for link in found], files, now)
        return [(doers[link.id], _unlinked(doers[link.id], link, files[link.media_id])) for link in found]

    def returned(self, course_id: UUID, step: Step, now: datetime) -> Sequence[Draft]:
        """Put a course's links back, each where it was, but for those that cannot be there any more."""
        files = _lock_files(links.removed_with_course(course_id))
        links.hand_to_files(course_id)
        removed = links.removed_with_course(course_id)
        lost = _lost(removed, files)
        back = [link for link in removed if link.id not in lost]
        links.insert(back)
        Deletion.objects.filter(course=course_id).delete()
        _record("media.link", [(step, link) for link in back], files, now)
        _record("media.unlink", [(step, link) for link in removed if link.id in lost], files, now, lost)
        return [_linked(step, link, files[link.media_id]) for link in back]


class _File:
    """A file that is locked: whose it is, how it is called, and how many links it has, as far as they are told."""

    def __init__(self, owner_id: UUID, name: str, category: str, link_count: int) -> None:
        self.owner_id, self.name, self.category, self.link_count = str(owner_id), name, category, link_count


def _lock_files(concerned: Iterable[LinkRow]) -> dict[str, _File]:
    ids = sorted({UUID(link.media_id) for link in concerned})
    found = sql.rows(_LOCK, [ids]) if ids else []
    return {str(id_): _File(*facts) for id_, *facts in found}


def _doers(what: Going, found: Sequence[LinkRow]) -> dict[str, Step]:
    """Find which step takes which link away: that of its target, of its target's chapter, or of the course."""
    videos = [UUID(link.target.id) for link in found if link.target.type == "video"]
    chapters = dict(sql.rows("SELECT id, chapter_id FROM courses_video WHERE id = ANY(%b)", [videos])) if videos else {}
    doers = {}
    for link in found:
        id_ = UUID(link.target.id)
        chapter = chapters.get(id_, id_)
        doer = what.videos.get(id_) or what.chapters.get(chapter) or what.course
        assert doer
        doers[link.id] = doer
    return doers


def _keep(what: Going, taken: Sequence[LinkRow]) -> None:
    """Keep the links of a course that goes as a whole."""
    if taken:
        deletion = Deletion.objects.get(course=what.course_id)
        links.keep_removed([(deletion.pk, link) for link in taken])


def _lost(removed: Sequence[LinkRow], files: Mapping[str, _File]) -> dict[str, str]:
    """Map those of a course's links that cannot return to why; a place that several had goes to the first of them."""
    there = links.homes_of({link.target for link in removed})
    taken: set[tuple[Place, str]] = set()
    lost = {}
    for link in removed:
        place = (link.place, "" if link.role in SINGLE_ROLES else link.media_id)
        if link.target not in there:
            lost[link.id] = TARGET_GONE
        elif place in taken or not fits(link.role, files[link.media_id].category):
            lost[link.id] = CONFLICT
        else:
            taken.add(place)
    return lost


def _record(
    action: str,
    done: Sequence[tuple[Step, LinkRow]],
    files: dict[str, _File],
    now: datetime,
    results: Mapping[str, str] | None = None,
) -> None:
    """Add to the history what was done to links; ``results`` has what became of those that were to return."""
    entries: list[store.Line] = []
    for step, link in done:
        file = files[link.media_id]
        where = {"targetType": link.target.type, "targetId": link.target.id, "courseId": link.home_id}
        result = {"result": results[link.id]} if results else {}
        entries.append(
            store.entry(
                owner_id=file.owner_id,
                media_id=link.media_id,
                media_name=file.name,
                action=action,
                actor_id=str(step.operation.user.pk),
                operation_id=step.operation.key,
                details={"linkId": link.id, **where, "role": link.role, "because": step.action, **result},
                now=now,
            )
        )
    store.record(entries)


def _linked(step: Step, link: LinkRow, file: _File) -> Draft:
    file.link_count += 1
    more = {"position": link.position, "name": file.name, "category": file.category}
    return _draft(events.MEDIA_LINKED, step, link, file, **more)


def _unlinked(step: Step, link: LinkRow, file: _File) -> Draft:
    file.link_count -= 1
    return _draft(events.MEDIA_UNLINKED, step, link, file)


def _draft(type_: str, step: Step, link: LinkRow, file: _File, **more: object) -> Draft:
    """Tell a file's owner; on the course's topic the course's own event stands for all its links."""
    target = {"targetType": link.target.type, "targetId": link.target.id, "role": link.role}
    data = {"linkId": link.id, "mediaId": link.media_id, **target, **more, "linkCount": file.link_count}
    return Draft(type_, topics.user(file.owner_id), step.operation.key, data)


_LOCK = """
    SELECT id, owner_id, name, category, link_count FROM media_media WHERE id = ANY(%b) ORDER BY id FOR NO KEY UPDATE
"""
