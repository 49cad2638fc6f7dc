"""
What is done to a library: a pure function over the part of it that is loaded.

`apply_all` takes changes in order, gives back what each led to, and leaves the library as it is afterwards. No
database, no clock. Every rule checks first and changes last, so that a change which fails has altered nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from apps.core import clock
from apps.core.errors import Conflict, CourseHubError, Gone, NotFound, PermissionDenied, VersionConflict
from apps.media.errors import InTrash, InUse
from apps.media.library import (
    POSITION_MAX,
    SINGLE_ROLES,
    SOURCE,
    Change,
    Entry,
    Event,
    FileRow,
    Library,
    LinkRow,
    Place,
    Result,
    Target,
)
from apps.operations.errors import DependencyFailed
from broadcast.contracts import events, topics

RESTORED, TARGET_GONE, CONFLICT = "restored", "target_gone", "conflict"


def apply_all(library: Library, changes: Sequence[Change], now: datetime, *, kept: timedelta) -> list[Result]:
    """Apply changes in order, each standing alone; one result for each. ``kept``: how long the trash keeps files."""
    return [_attempt(library, change, now, kept) for change in changes]


def _attempt(library: Library, change: Change, now: datetime, kept: timedelta) -> Result:
    try:
        if not change.actor or (change.action != "media.unlink" and change.actor != library.owner_id):
            raise PermissionDenied
        result = RULES[change.action](library, change, now, kept)
    except CourseHubError as error:
        library.unborn.update(filter(None, [created_by(change)]))
        return Result(error=error)
    # It may be another try at what could not be created before.
    library.unborn -= {created_by(change)}
    return result


def created_by(change: Change) -> str | None:
    """Tell which id a change would bring into being, if any."""
    field = CREATES.get(change.action)
    return change.payload[field] if field and change.payload.get("creates", True) else None


# Files


def _update(library: Library, change: Change, now: datetime, kept: timedelta) -> Result:  # noqa: ARG001
    file = _living(library, change)
    _check_version(file, change)
    name = change.payload.get("name", file.name)
    told = {"name": name} if "name" in change.payload else {}
    return _changed(library, file, replace(file, name=name), now, told, _entry(file, change, was=file.name, **told))


def _revert(library: Library, change: Change, now: datetime, kept: timedelta) -> Result:  # noqa: ARG001
    file, number = _living(library, change), change.payload["number"]
    _check_version(file, change)
    facts = library.versions.get(file.id, {}).get(number)
    if facts is None:
        raise NotFound("This file has no such version.")
    check_fits(library.links_of(file.id), facts.category)
    as_before = replace(file, number=number, category=facts.category, content_type=facts.content_type, size=facts.size)
    told = {
        "currentVersion": number,
        "category": facts.category,
        "contentType": facts.content_type,
        "size": facts.size,
        "file": facts.file,
    }
    result = _changed(library, file, as_before, now, told, _entry(file, change, was=file.number, number=number))
    return replace(result, fed=fed_by(library.links_of(file.id)))


def _changed(
    library: Library, before: FileRow, after: FileRow, now: datetime, told: dict[str, Any], entry: Entry
) -> Result:
    after = replace(after, version=before.version + (after != before), updated_at=now)
    library.files[after.id] = after
    data = {"mediaId": after.id, "updates": told, "version": after.version}
    event = Event(events.MEDIA_UPDATED, data, _own(library))
    return Result({"mediaId": after.id, "version": after.version}, (event,), (entry,))


def _delete(library: Library, change: Change, now: datetime, kept: timedelta) -> Result:
    file = library.files.get(change.payload["mediaId"])
    if file is None or file.deleted_at:
        gone_until = (file.purge_at if file else None) or now
        return _already_gone(library, change, events.MEDIA_DELETED, removedLinks=0, purgeAt=clock.to_ms(gone_until))
    links = library.links_of(file.id)
    if links and not change.payload.get("force"):
        raise InUse(links)
    _check_version(file, change)
    trashed = replace(_without(file, links), updated_at=now, deleted_at=now, purge_at=now + kept)
    library.files[file.id] = trashed
    library.removed[file.id] = {link.id: library.links.pop(link.id) for link in links}
    data = {"mediaId": file.id, "removedLinks": len(links), "purgeAt": clock.to_rfc3339(now + kept)}
    told = Event(events.MEDIA_DELETED, {**data, "purgeAt": clock.to_ms(now + kept)}, _own(library))
    # The deletion stands for its links, except to those who look at the courses that they were in.
    unlinked = [Event(events.MEDIA_UNLINKED, _shown(link), (topics.course(link.home_id),)) for link in links]
    entry = _entry(file, change, force=bool(change.payload.get("force")), links=[_where(link) for link in links])
    return Result(data, (told, *unlinked), (entry,), fed=fed_by(links))


def fed_by(links: Iterable[LinkRow]) -> tuple[str, ...]:
    """List the videos that have their file by one of these links."""
    return tuple(link.target.id for link in links if link.is_source)


def _restore(library: Library, change: Change, now: datetime, kept: timedelta) -> Result:  # noqa: ARG001
    file = _there(library, change)
    if not file.deleted_at:
        raise Conflict("This file is not in the trash.")
    wanted = _wanted(library.removed.get(file.id, {}), change.payload["restoreLinks"])
    report = [(link, _put_back(library, file, link)) for link in wanted]
    back = [link for link, result in report if result == RESTORED]
    library.removed.pop(file.id, None)
    library.files[file.id] = replace(file, link_count=len(back), updated_at=now, deleted_at=None, purge_at=None)
    links = [{**_where(link), "result": result} for link, result in report]
    data = {"mediaId": file.id, "links": links, "version": file.version}
    shown = [Event(events.MEDIA_LINKED, _linked(file, link), (topics.course(link.home_id),)) for link in back]
    told = Event(events.MEDIA_RESTORED, data, _own(library))
    return Result(data, (told, *shown), (_entry(file, change, links=links),), fed=fed_by(back))


def _wanted(removed: dict[str, LinkRow], asked: Any) -> list[LinkRow]:
    if asked == "none":
        return []
    if asked == "all":
        return sorted(removed.values(), key=lambda link: link.id)
    unknown = [id_ for id_ in asked if id_ not in removed]
    if unknown:
        raise NotFound("The deletion took no such links away.", linkIds=unknown[:50])
    return [removed[id_] for id_ in dict.fromkeys(asked)]


def _put_back(library: Library, file: FileRow, link: LinkRow) -> str:
    """Put a link back where it was, if that is there and free, the file fits it, and its owner may still do so."""
    course = library.courses.get(link.home_id)
    if course is None or link.target not in library.homes or not course.may_edit(library.owner_id):
        return TARGET_GONE
    taken = library.taken(link.place, file.id) or (link.is_source and link.target.id in library.uploading)
    if taken or not fits(link.role, file.category):
        return CONFLICT
    if course.is_deleted:
        library.handed[link.id] = link
        return TARGET_GONE
    library.add(link)
    return RESTORED


def _purge(library: Library, change: Change, now: datetime, kept: timedelta) -> Result:  # noqa: ARG001
    file = library.files.get(change.payload["mediaId"])
    if file is None:
        return _already_gone(library, change, events.MEDIA_PURGED)
    check_purgeable(file, library.links_of(file.id))
    del library.files[file.id]
    library.removed.pop(file.id, None)
    data = {"mediaId": file.id}
    return Result(data, (Event(events.MEDIA_PURGED, data, _own(library)),), (_entry(file, change),))


def check_purgeable(file: FileRow, links: Sequence[LinkRow]) -> None:
    """Refuse to purge what is not in the trash."""
    if links:
        raise InUse(links)
    if not file.deleted_at:
        raise Conflict("Only what is in the trash can be purged. Delete it first.")


# Links


def _link(library: Library, change: Change, now: datetime, kept: timedelta) -> Result:  # noqa: ARG001
    file = _living(library, change)
    target = Target(change.payload["targetType"], change.payload["targetId"])
    _check_target(library, change, target)
    place = Place(target, change.payload["role"])
    check_fits_role(place.role, target.type, file.category, is_known=file.number is not None)
    check_free(library, place, file)
    position = change.payload.get("position")
    position = min(library.last.get(target, -1) + 1, POSITION_MAX) if position is None else position
    id_, home = change.payload["linkId"], library.homes[target]
    link = LinkRow(id_, file.id, home, target, place.role, position, change.actor, now)
    library.add(link)
    library.files[file.id] = file = replace(file, link_count=file.link_count + 1)
    told = _to_both(library, events.MEDIA_LINKED, _linked(file, link), home, file.link_count)
    data = {"mediaId": file.id, "linkId": id_, "position": position}
    return Result(data, told, (_entry(file, change, **_where(link), position=position),), fed=fed_by([link]))


def check_free(library: Library, place: Place, file: FileRow) -> None:
    """Refuse a place that is taken, or that an upload is on its way to."""
    taken = library.taken(place, file.id)
    if taken:
        raise Conflict("This place is taken.", linkId=taken.id, mediaId=taken.media_id)
    if place.role == SOURCE and place.target.id in library.uploading:
        raise Conflict(BEING_UPLOADED)


BEING_UPLOADED = "A file is being uploaded to this video."


def _check_target(library: Library, change: Change, target: Target) -> None:
    course = library.courses.get(change.payload["courseId"])
    if course is None or course.roles.get(change.actor) is None:
        raise DependencyFailed if change.payload["courseId"] in library.unborn else NotFound("There is no such course.")
    if course.is_deleted:
        raise Gone("This course is deleted.")
    if not course.may_edit(change.actor):
        raise PermissionDenied
    if target not in library.homes:
        raise DependencyFailed if target.id in library.unborn else NotFound(f"There is no such {target.type}.")


def check_fits_role(role: str, target_type: str, category: str, *, is_known: bool = True) -> None:
    """
    Refuse a role that this target does not know, or that wants another kind of file.

    ``is_known``: the file has a version, which was looked at; before that nobody knows its category.
    """
    if role == SOURCE and target_type != "video":
        raise Conflict("Only a video has a source.")
    if role in SINGLE_ROLES and not is_known:
        raise Conflict("This file is not fully uploaded yet, so its category is not known.")
    if not fits(role, category):
        raise Conflict(f"A {role} must be a file of the category {SINGLE_ROLES[role]}.")


def fits(role: str, category: str) -> bool:
    """Say whether a role is for files of this category."""
    return SINGLE_ROLES.get(role, category) == category


def check_fits(links: Iterable[LinkRow], category: str) -> None:
    """Refuse another kind of content for a file that is used as a video's source or as a thumbnail."""
    for link in links:
        check_fits_role(link.role, link.target.type, category)


def _unlink(library: Library, change: Change, now: datetime, kept: timedelta) -> Result:  # noqa: ARG001
    link = library.links.get(change.payload["linkId"])
    _check_unlinker(library, change)
    if link is None or link.media_id not in library.files:
        return _already_unlinked(library, change)
    file = library.files[link.media_id]
    del library.links[link.id]
    library.files[file.id] = file = _without(file, [link])
    told = _to_both(library, events.MEDIA_UNLINKED, _shown(link), link.home_id, file.link_count)
    ids = {"mediaId": file.id, "linkId": link.id}
    entry = _entry(file, change, **_where(link), position=link.position)
    return Result(ids, told, (entry,), fed=fed_by([link]))


def _check_unlinker(library: Library, change: Change) -> None:
    """A file's owner may always unlink it, and so may whoever edits the course."""
    course = library.courses.get(change.payload["courseId"])
    if change.actor != library.owner_id and not (course and course.may_edit(change.actor)):
        raise PermissionDenied


def _already_unlinked(library: Library, change: Change) -> Result:
    payload = change.payload
    if payload["linkId"] in library.unborn or not payload.get("known"):
        raise _absent(library, payload["linkId"], "There is no such link.")
    ids = {name: payload[name] for name in ("linkId", "mediaId", "targetType", "targetId", "role")}
    file = library.files.get(payload["mediaId"])
    told = _to_both(library, events.MEDIA_UNLINKED, ids, payload["courseId"], file.link_count if file else 0)
    return Result({"mediaId": ids["mediaId"], "linkId": ids["linkId"], "alreadyGone": True}, told)


# Uploads


def _upload(library: Library, change: Change, now: datetime, kept: timedelta) -> Result:  # noqa: ARG001
    """Begin an upload: of a file that is not there yet, or, also when it is tried again, into one that is."""
    if change.payload.get("uploadEnded"):
        raise Gone("This upload has ended.")
    id_ = change.payload["mediaId"]
    ids = {"mediaId": id_, "uploadId": change.payload["uploadId"]}
    if id_ in library.files or not change.payload["creates"]:
        file = replace(_living(library, change), status="uploading", updated_at=now)
        library.files[id_] = file
        data = {**ids, "updates": {"status": "uploading"}, "version": file.version}
        return Result(ids, (Event(events.MEDIA_UPDATED, data, _own(library)),), is_open=True)
    name = change.payload["name"]
    file = FileRow(id_, name, "other", "uploading", "", 0, None, 0, 1, updated_at=now)
    library.files[id_] = file
    temp_id = {"tempId": change.payload["tempId"]} if change.payload.get("tempId") else {}
    data = {**ids, **temp_id, "name": name, "status": "uploading", "version": 1}
    told = Event(events.MEDIA_CREATED, data, _own(library))
    return Result(ids, (told,), (_entry(file, change, uploadId=ids["uploadId"]),), is_open=True)


# What the rules share


def _there(library: Library, change: Change) -> FileRow:
    file = library.files.get(change.payload["mediaId"])
    if file is None:
        raise _absent(library, change.payload["mediaId"], "There is no such file.")
    return file


def _living(library: Library, change: Change) -> FileRow:
    file = _there(library, change)
    if file.deleted_at:
        raise InTrash
    return file


def _absent(library: Library, id_: str, message: str) -> CourseHubError:
    return DependencyFailed() if id_ in library.unborn else NotFound(message)


def _already_gone(library: Library, change: Change, type_: str, **facts: object) -> Result:
    """Deleting what was there when it was asked for, and is not any more, is done; other absent ids are errors."""
    id_ = change.payload["mediaId"]
    if id_ not in library.files and (id_ in library.unborn or not change.payload.get("known")):
        raise _absent(library, id_, "There is no such file.")
    told = Event(type_, {"mediaId": id_, **facts}, _own(library))
    return Result({"mediaId": id_, "alreadyGone": True}, (told,))


def _check_version(file: FileRow, change: Change) -> None:
    base = change.payload.get("baseVersion")
    if base is not None and base != file.version:
        raise VersionConflict(file.version)


def _without(file: FileRow, links: Sequence[LinkRow]) -> FileRow:
    """Give a file as it is when some of its links have gone."""
    # The database notes when links are made, but never hears of one that goes in the batch in which it came.
    used_at = max(filter(None, [file.used_at, *(link.created_at for link in links)]), default=None)
    return replace(file, link_count=file.link_count - len(links), used_at=used_at)


def _own(library: Library) -> tuple[str]:
    return (topics.user(library.owner_id),)


def _where(link: LinkRow) -> dict[str, Any]:
    ids = {"linkId": link.id, "targetType": link.target.type, "targetId": link.target.id}
    return {**ids, "courseId": link.home_id, "role": link.role}


def _to_both(
    library: Library, type_: str, data: Mapping[str, Any], course_id: str, link_count: int
) -> tuple[Event, ...]:
    """Tell a link's coming or going to the course, and to the file's owner, who alone hears how often it is used."""
    on_course = Event(type_, data, (topics.course(course_id),))
    return Event(type_, {**data, "linkCount": link_count}, _own(library)), on_course


def _shown(link: LinkRow) -> dict[str, Any]:
    target = {"targetType": link.target.type, "targetId": link.target.id, "role": link.role}
    return {"linkId": link.id, "mediaId": link.media_id, **target}


def _linked(file: FileRow, link: LinkRow) -> dict[str, Any]:
    return {**_shown(link), "position": link.position, "name": file.name, "category": file.category}


def _entry(file: FileRow, change: Change, **details: Any) -> Entry:
    return Entry(file.id, file.name, change.action, details)


Rule = Callable[[Library, Change, datetime, timedelta], Result]

RULES: dict[str, Rule] = {
    "media.upload": _upload,
    "media.update": _update,
    "media.revert": _revert,
    "media.delete": _delete,
    "media.restore": _restore,
    "media.purge": _purge,
    "media.link": _link,
    "media.unlink": _unlink,
}
CREATES = {"media.upload": "mediaId", "media.link": "linkId"}
"""Which field of a creating action's payload holds the new id."""
