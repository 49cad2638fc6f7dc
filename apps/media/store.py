"""
Between the library and the database: load the part that changes touch, write the difference in bulk.

Locks are taken in one order everywhere: courses by id, then files by id. A link only comes or goes with its file
locked, and only comes with its course locked; so what is read here after the locks stays as it is.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import transaction

from apps.core import ids, sql
from apps.media import links as link_table
from apps.media import purging
from apps.media.library import SINGLE_ROLES, SOURCE, Change, CourseRow, FileRow, Library, LinkRow, Target, VersionRow
from apps.media.models import Deletion, MediaVersion
from apps.media.rules import created_by
from apps.operations import selectors as operations
from apps.uploads import show


@dataclass(slots=True)
class Needs:
    """What a list of changes needs to have loaded."""

    files: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    courses: set[str] = field(default_factory=set)
    targets: set[Target] = field(default_factory=set)
    linked: set[str] = field(default_factory=set)
    """Files of which all links are needed."""
    in_single_roles: set[str] = field(default_factory=set)
    """Files of which the links in single roles are needed, and the versions."""
    links: set[str] = field(default_factory=set)
    restored: set[str] = field(default_factory=set)
    created: set[str] = field(default_factory=set)
    """What is created before any change names it."""


def needs_of(changes: Iterable[Change]) -> Needs:
    """Work out what changes refer to."""
    needs = Needs()
    for change in changes:
        payload = change.payload
        created = created_by(change)
        if created and created not in needs.files and created not in needs.links:
            needs.created.add(created)
        needs.users.update(filter(None, [change.actor]))
        needs.files.add(payload["mediaId"])
        match change.action:
            case "media.delete" | "media.purge":
                needs.linked.add(payload["mediaId"])
            case "media.restore":
                needs.restored.add(payload["mediaId"])
            case "media.revert":
                needs.in_single_roles.add(payload["mediaId"])
            case "media.link":
                needs.courses.add(payload["courseId"])
                needs.targets.add(Target(payload["targetType"], payload["targetId"]))
            case "media.unlink":
                needs.courses.add(payload["courseId"])
                needs.links.add(payload["linkId"])
    return needs


def load(owner_id: str, needs: Needs) -> Library:
    """Lock the courses and files concerned, and load what is needed of the library."""
    library = Library(owner_id)
    reach = _lock(library, needs)
    for link in reach.removed:
        library.removed.setdefault(link.media_id, {})[link.id] = link
    targets = needs.targets | {link.target for link in (*reach.removed, *reach.standing)}
    library.homes, library.last = link_table.homes_of(targets), link_table.last_positions(needs.targets)
    library.links = {link.id: link for link in (*reach.held, *_load_links(needs, targets))}
    library.versions = _load_versions(needs.in_single_roles)
    library.unborn = _unborn(library, needs)
    library.uploading = uploading(target.id for target in targets)
    deleted = [course.id for course in library.courses.values() if course.is_deleted]
    library.handed = {link.id: link for link in link_table.waiting_at({link.target for link in reach.removed}, deleted)}
    return library


def uploading(targets: Iterable[str]) -> set[str]:
    """Find out to which of these targets a file is being uploaded."""
    return {id_ for (id_,) in sql.rows(_UPLOADING, [list(targets)])}


@dataclass(frozen=True, slots=True)
class _Reach:
    """
    Links that decide which courses are concerned.

    ``removed``: those that the deletions to be undone took away, ``standing``: those that they may yet take away in the
    same batch. ``held``: those that may go with their files, or that decide what file a video has.
    """

    removed: list[LinkRow] = field(default_factory=list)
    standing: list[LinkRow] = field(default_factory=list)
    held: list[LinkRow] = field(default_factory=list)

    @property
    def homes(self) -> set[str]:
        """
        The courses of links that may come, or that decide what file a video has.

        A link that only goes does so without its course: whoever deletes a file must not have to wait for all of them.
        """
        sources = [link for link in self.held if link.is_source]
        return {link.home_id for link in (*self.removed, *self.standing, *sources)}


def _lock(library: Library, needs: Needs) -> _Reach:
    """
    Lock courses and files; returns the links that lead to them.

    Into which courses these lead may change until the files are locked: then it is done again with those as well.
    """

    def take(homes: set[str]) -> None:
        library.courses = _lock_courses(homes, needs.users | {library.owner_id})
        library.files = _lock_files(library.owner_id, needs.files)

    known = needs.courses | _reach(needs, only_sources=True).homes
    return _lock_until_settled(known, take, lambda: _reach(needs))


def _reach(needs: Needs, *, only_sources: bool = False) -> _Reach:
    """Find the links that decide which courses are concerned; ``only_sources``: of those held, no more than these."""
    roles = (SOURCE,) if only_sources else None
    return _Reach(
        link_table.removed_with(needs.restored),
        link_table.of_files(needs.restored),
        [
            *link_table.of_files(needs.linked, only_roles=roles),
            *link_table.of_files(needs.in_single_roles, only_roles=roles or tuple(SINGLE_ROLES)),
        ],
    )


def _lock_until_settled(homes: set[str], take: Callable[[set[str]], None], find: Callable[[], _Reach]) -> _Reach:
    """Take locks on courses and what follows them, until these are all the courses that `find` reaches behind them."""
    while True:
        before = transaction.savepoint()
        take(homes)
        found = find()
        if found.homes <= homes:
            transaction.savepoint_commit(before)
            return found
        transaction.savepoint_rollback(before)
        homes = homes | found.homes


def lock(files: set[str]) -> None:
    """Lock files, and before them the courses in which they are videos' sources."""

    def take(homes: set[str]) -> None:
        _lock_courses(homes, set())
        sql.rows("SELECT id FROM media_media WHERE id = ANY(%b::uuid[]) ORDER BY id FOR NO KEY UPDATE", [list(files)])

    def find() -> _Reach:
        return _Reach(held=link_table.of_files(files, only_roles=(SOURCE,)))

    _lock_until_settled(find().homes, take, find)


def _lock_courses(wanted: set[str], users: set[str]) -> dict[str, CourseRow]:
    found = sql.rows(_LOCK_COURSES, [list(users), list(wanted)]) if wanted else []
    return {id_: CourseRow(id_, deleted_at is not None, dict(roles)) for id_, deleted_at, roles in found}


def _lock_files(owner_id: str, wanted: set[str]) -> dict[str, FileRow]:
    found = sql.rows(_LOCK_FILES, [owner_id, list(wanted)])
    return {row[0]: FileRow(*row) for row in found}


def _load_links(needs: Needs, targets: set[Target]) -> list[LinkRow]:
    return [
        *link_table.by_id(needs.links),
        *link_table.in_the_way(targets, needs.files, tuple(SINGLE_ROLES)),
    ]


def _load_versions(wanted: set[str]) -> dict[str, dict[int, VersionRow]]:
    versions: dict[str, dict[int, VersionRow]] = {}
    of_files = MediaVersion.objects.filter(media__in=[UUID(id_) for id_ in wanted])
    for version in of_files.select_related("file") if wanted else ():
        file = version.file
        facts = VersionRow(file.category, file.content_type, file.size, show.final_data(file, in_event=True))
        versions.setdefault(str(version.media_id), {})[version.number] = facts
    return versions


def _unborn(library: Library, needs: Needs) -> set[str]:
    """Find out which of the ids that are not there could not be created."""
    named = needs.files | needs.links | needs.courses | {target.id for target in needs.targets}
    there = library.files.keys() | library.links.keys() | library.courses.keys() | {t.id for t in library.homes}
    absent = named - needs.created - there
    return {str(id_) for id_ in operations.failed_creations([UUID(id_) for id_ in absent])} if absent else set()


def save(before: Library, after: Library) -> None:
    """Write the difference between two states of one library, in an order that every constraint allows."""
    gone = [link for id_, link in before.links.items() if id_ not in after.links]
    come = [link for id_, link in after.links.items() if id_ not in before.links]
    # A file that goes into the trash with its links is written once: what goes afterwards is not counted any more.
    _save_files(before, after)
    link_table.delete(gone)
    link_table.insert(come)
    _save_deletions(before, after)
    purging.purge([UUID(id_) for id_ in before.files.keys() - after.files.keys()])


def _save_files(before: Library, after: Library) -> None:
    created = [row for id_, row in after.files.items() if id_ not in before.files]
    if created:
        sql.execute(_INSERT_FILES, [after.owner_id, *sql.columns([_saved(row) for row in created])])
    changed = [row for id_, row in after.files.items() if id_ in before.files and before.files[id_] != row]
    if changed:
        sql.execute(_UPDATE_FILES, sql.columns([_saved(row) for row in changed]))


def _saved(row: FileRow) -> tuple[object, ...]:
    facts = (row.name, row.category, row.status, row.content_type, row.size, row.number, row.version)
    return (row.id, *facts, row.updated_at, row.deleted_at, row.purge_at, row.used_at)


def _save_deletions(before: Library, after: Library) -> None:
    """Keep what new deletions took away, forget what those took that were undone, hand over what waits for a course."""
    link_table.hand_over([link for id_, link in after.handed.items() if id_ not in before.handed])
    standing = {
        media for media in _deleted(before) & _deleted(after) if _removed(before, media) == _removed(after, media)
    }
    over = (_deleted(before) & after.files.keys()) - standing
    if over:
        Deletion.objects.filter(media__in=[UUID(id_) for id_ in over]).delete()
    new = {media: ids.new_id() for media in _deleted(after) - standing}
    if new:
        at = [after.files[media].updated_at for media in new]
        sql.execute(_INSERT_DELETIONS, [list(new.values()), list(new), at])
        link_table.keep_removed([(new[media], link) for media in new for link in _removed(after, media).values()])


def _deleted(library: Library) -> set[str]:
    return {file.id for file in library.files.values() if file.deleted_at}


def _removed(library: Library, media_id: str) -> dict[str, LinkRow]:
    return library.removed.get(media_id, {})


Line = tuple[object, ...]
"""A line of history, as a row."""


def record(lines: Sequence[Line]) -> None:
    """Add to the history."""
    if lines:
        sql.execute(_RECORD, sql.columns(lines))


def entry(
    *, owner_id: str, media_id: str, media_name: str, action: str, actor_id: str, operation_id: str,
    details: object, now: datetime,
) -> Line:  # fmt: skip
    """Make a line of history; ``actor_id`` empty: nobody, it was time."""
    about = (ids.new_id(), owner_id, media_id, media_name)
    return (*about, action, actor_id or None, operation_id, json.dumps(details), now)


_LOCK_COURSES = """
    SELECT id::text, deleted_at, ARRAY(
        SELECT ARRAY[user_id::text, role] FROM courses_membership
        WHERE course_id = course.id AND user_id = ANY(%b::uuid[])
    )
    FROM courses_course course WHERE id = ANY(%b::uuid[]) ORDER BY course.id FOR NO KEY UPDATE
"""
_LOCK_FILES = """
    SELECT id::text, name, category, status, content_type, size, current_version, link_count, version, updated_at,
        deleted_at, purge_at
    FROM media_media file WHERE owner_id = %s AND id = ANY(%b::uuid[]) ORDER BY file.id FOR NO KEY UPDATE
"""
_UPLOADING = """
    SELECT target_id::text FROM uploads_upload
    WHERE target_id = ANY(%b::uuid[]) AND status IN ('uploading', 'processing') AND step_id IS NOT NULL
"""
_INSERT_FILES = """
    INSERT INTO media_media (owner_id, link_count, created_at, id, name, category, status, content_type, size,
        current_version, version, updated_at, deleted_at, purge_at, last_used_at)
    SELECT %s::uuid, 0, updated_at, row.*
    FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[], %b::int[], %b::int[],
        %b::timestamptz[], %b::timestamptz[], %b::timestamptz[], %b::timestamptz[])
        AS row(id, name, category, status, content_type, size, number, version, updated_at, deleted_at, purge_at,
            used_at)
"""
_UPDATE_FILES = """
    UPDATE media_media media
    SET name = row.name, category = row.category, status = row.status, content_type = row.content_type,
        size = row.size, current_version = row.number, version = row.version, updated_at = row.updated_at,
        deleted_at = row.deleted_at, purge_at = row.purge_at, last_used_at = greatest(media.last_used_at, row.used_at),
        link_count = CASE WHEN row.deleted_at IS NULL THEN media.link_count ELSE 0 END
    FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[], %b::int[], %b::int[],
        %b::timestamptz[], %b::timestamptz[], %b::timestamptz[], %b::timestamptz[])
        AS row(id, name, category, status, content_type, size, number, version, updated_at, deleted_at, purge_at,
            used_at)
    WHERE media.id = row.id
"""
_INSERT_DELETIONS = """
    INSERT INTO media_deletion (id, media_id, created_at)
    SELECT id, media_id, at FROM unnest(%b::uuid[], %b::uuid[], %b::timestamptz[]) AS row(id, media_id, at)
"""
_RECORD = """
    INSERT INTO media_historyentry
        (id, owner_id, media_id, media_name, action, actor_id, operation_id, details, created_at)
    SELECT id, owner_id, media_id, media_name, action, actor_id, operation_id, details::jsonb, at
    FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::uuid[], %b::text[], %b::text[],
        %b::timestamptz[])
        AS row(id, owner_id, media_id, media_name, action, actor_id, operation_id, details, at)
"""
