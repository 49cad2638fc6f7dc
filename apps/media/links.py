"""The rows of links: those that stand, and those that a deletion took away."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.core import clock, ids, sql
from apps.media.library import LinkRow, Target

COLUMNS = ("course", "chapter", "video")


def of_files(files: Collection[str], *, only_roles: Sequence[str] | None = None) -> list[LinkRow]:
    """List the links of files, oldest first; ``only_roles``: those in these roles."""
    if not files:
        return []
    if only_roles is None:
        return _read(_OF_FILES, [list(files)])
    return _read(_OF_FILES_IN_ROLES, [list(files), list(only_roles)])


def first_of_file(media_id: UUID, limit: int) -> list[LinkRow]:
    """List a file's oldest links."""
    return _read(_FIRST_OF_FILE, [media_id, limit])


def by_id(wanted: Collection[str]) -> list[LinkRow]:
    """List the links with these ids, as far as they are there."""
    return _read(_BY_ID, [list(wanted)]) if wanted else []


def in_the_way(targets: Iterable[Target], files: Collection[str], single_roles: Sequence[str]) -> list[LinkRow]:
    """List the links at targets that new ones may conflict with: those of these files, and those in single roles."""
    named = _by_type(targets)
    if not any(named.values()):
        return []
    return _read(_IN_THE_WAY, [*(named[type_] for type_ in COLUMNS), list(files), list(single_roles)])


def within(courses: Collection[UUID], chapters: Collection[UUID], videos: Collection[UUID]) -> list[LinkRow]:
    """List the links of everything in these courses, of these chapters and their videos, and of these videos."""
    return _read(_WITHIN, [list(courses), list(chapters), list(videos), list(chapters)])


def homes_of(targets: Iterable[Target]) -> dict[Target, str]:
    """Map those of the targets that are there to the course that each is in."""
    named = _by_type(targets)
    if not any(named.values()):
        return {}
    found = sql.rows(_HOMES, [named[type_] for type_ in COLUMNS])
    return {Target(type_, id_): home for type_, id_, home in found}


def last_positions(targets: Iterable[Target]) -> dict[Target, int]:
    """Map targets to the greatest position of a link there; those without links are left out."""
    named = _by_type(targets)
    if not any(named.values()):
        return {}
    found = sql.rows(_LAST, [named[type_] for type_ in COLUMNS])
    return {Target(type_, id_): position for type_, id_, position in found if position is not None}


def delete(links: Sequence[LinkRow]) -> None:
    """Remove links; their files count it."""
    if links:
        sql.execute("DELETE FROM media_medialink WHERE id = ANY(%b::uuid[])", [[link.id for link in links]])


def insert(links: Sequence[LinkRow]) -> None:
    """Make links; their files count it."""
    if links:
        sql.execute(_INSERT, sql.columns([_columns(link) for link in links]))


def removed_with(files: Collection[str]) -> list[LinkRow]:
    """List what the deletions of files that are in the trash took away."""
    return _read(_REMOVED_WITH_FILES, [list(files)]) if files else []


def removed_with_course(course_id: UUID) -> list[LinkRow]:
    """List what a course's deletion took away."""
    return _read(_REMOVED_WITH_COURSE, [course_id])


def waiting_at(targets: Iterable[Target], deleted_courses: Collection[str]) -> list[LinkRow]:
    """List what the deletions of courses took away from targets and will bring back: the links of files that live."""
    if not deleted_courses:
        return []
    return _read(_WAITING_AT, [list(deleted_courses), [target.id for target in targets]])


def keep_removed(links: Sequence[tuple[UUID, LinkRow]]) -> None:
    """Keep links for the undoing of the deletions that took them away."""
    if links:
        rows = [
            (deletion, link.id, link.media_id, link.home_id, *link.target, link.role, link.position, link.created_by,
             link.created_at)
            for deletion, link in links
        ]  # fmt: skip
        sql.execute(_KEEP, sql.columns(rows))


def hand_over(links: Sequence[LinkRow]) -> None:
    """Have links that a file's deletion took away come back when their deleted courses do."""
    if links:
        begin_course_deletions({UUID(link.home_id) for link in links}, clock.now())
        sql.execute(_HAND_TO_COURSES, [[link.id for link in links]])


def begin_course_deletions(courses: Collection[UUID], now: datetime) -> None:
    """Have a deletion for each of these deleted courses; one that has its own keeps it."""
    sql.execute(_BEGIN_COURSE_DELETIONS, [now, [ids.new_id() for _ in courses], list(courses)])


def hand_to_files(course_id: UUID) -> None:
    """Have links that a course's deletion took away, and whose files are in the trash, come back with those."""
    sql.execute(_HAND_TO_FILES, [course_id])


def _read(statement: str, values: Sequence[Any]) -> list[LinkRow]:
    return [
        LinkRow(id_, media, home, Target(type_, target), role, position, by, at)
        for id_, media, home, type_, target, role, position, by, at in sql.rows(statement, values)
    ]


def _columns(link: LinkRow) -> tuple[Any, ...]:
    targets = (link.target.id if link.target.type == type_ else None for type_ in COLUMNS)
    return (link.id, link.media_id, link.home_id, *targets, link.role, link.position, link.created_by, link.created_at)


def _by_type(targets: Iterable[Target]) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {type_: [] for type_ in COLUMNS}
    for target in targets:
        named[target.type].append(target.id)
    return named


# Ids come and go as text: the rules have no use for others, and to make a UUID of each takes Python longer than
# PostgreSQL takes to read one.
_LINK = """
    SELECT id::text, media_id::text, home_id::text,
        CASE WHEN video_id IS NOT NULL THEN 'video' WHEN chapter_id IS NOT NULL THEN 'chapter' ELSE 'course' END,
        coalesce(video_id, chapter_id, course_id)::text, role, position, created_by::text, created_at
    FROM media_medialink link
"""
_OF_FILES = _LINK + "WHERE media_id = ANY(%b::uuid[]) ORDER BY link.id"
_OF_FILES_IN_ROLES = _LINK + "WHERE media_id = ANY(%b::uuid[]) AND role = ANY(%b) ORDER BY link.id"
_FIRST_OF_FILE = _LINK + "WHERE media_id = %s ORDER BY link.id LIMIT %s"
_BY_ID = _LINK + "WHERE id = ANY(%b::uuid[])"
_IN_THE_WAY = (
    _LINK
    + """
    WHERE (course_id = ANY(%b::uuid[]) OR chapter_id = ANY(%b::uuid[]) OR video_id = ANY(%b::uuid[]))
        AND (media_id = ANY(%b::uuid[]) OR role = ANY(%b))
"""
)
_WITHIN = (
    _LINK  # noqa: S608 (no values in it)
    + """
    WHERE home_id = ANY(%b::uuid[]) OR chapter_id = ANY(%b::uuid[]) OR video_id = ANY(%b::uuid[])
        OR video_id IN (SELECT id FROM courses_video WHERE chapter_id = ANY(%b::uuid[]))
"""
)
_HOMES = """
    SELECT 'course', id::text, id::text FROM courses_course WHERE id = ANY(%b::uuid[])
    UNION ALL SELECT 'chapter', id::text, course_id::text FROM courses_chapter WHERE id = ANY(%b::uuid[])
    UNION ALL SELECT 'video', id::text, course_id::text FROM courses_video WHERE id = ANY(%b::uuid[])
"""
_LAST = """
    SELECT 'course', target::text, (SELECT max(position) FROM media_medialink WHERE course_id = target)
    FROM unnest(%b::uuid[]) AS target
    UNION ALL
    SELECT 'chapter', target::text, (SELECT max(position) FROM media_medialink WHERE chapter_id = target)
    FROM unnest(%b::uuid[]) AS target
    UNION ALL
    SELECT 'video', target::text, (SELECT max(position) FROM media_medialink WHERE video_id = target)
    FROM unnest(%b::uuid[]) AS target
"""
_INSERT = """
    INSERT INTO media_medialink
        (id, media_id, home_id, course_id, chapter_id, video_id, role, position, created_by, created_at)
    SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::int[],
        %b::uuid[], %b::timestamptz[])
"""
_REMOVED = """
    SELECT link.id::text, link.media_id::text, link.home_id::text, link.target_type, link.target_id::text, link.role,
        link.position, link.created_by::text, link.created_at
    FROM media_removedlink link JOIN media_deletion deletion ON deletion.id = link.deletion_id
"""
_REMOVED_WITH_FILES = _REMOVED + "WHERE deletion.media_id = ANY(%b::uuid[])"
_REMOVED_WITH_COURSE = _REMOVED + "WHERE deletion.course_id = %s ORDER BY link.id"
_WAITING_AT = (
    _REMOVED
    + """
    JOIN media_media media ON media.id = link.media_id
    WHERE deletion.course_id = ANY(%b::uuid[]) AND link.target_id = ANY(%b::uuid[]) AND media.deleted_at IS NULL
"""
)
_KEEP = """
    INSERT INTO media_removedlink
        (deletion_id, id, media_id, home_id, target_type, target_id, role, position, created_by, created_at)
    SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::uuid[], %b::text[], %b::int[],
        %b::uuid[], %b::timestamptz[])
"""
_HAND_TO_COURSES = """
    UPDATE media_removedlink link SET deletion_id = deletion.id
    FROM media_deletion deletion WHERE deletion.course_id = link.home_id AND link.id = ANY(%b::uuid[])
"""
_BEGIN_COURSE_DELETIONS = """
    INSERT INTO media_deletion (created_at, id, course_id)
    SELECT %s, id, course_id FROM unnest(%b::uuid[], %b::uuid[]) AS row(id, course_id) ON CONFLICT DO NOTHING
"""
_HAND_TO_FILES = """
    UPDATE media_removedlink link SET deletion_id = of_file.id
    FROM media_deletion of_course, media_deletion of_file
    WHERE of_course.course_id = %s AND link.deletion_id = of_course.id AND of_file.media_id = link.media_id
"""
