"""
A large library, written by SQL alone: what ten years of uploading would leave behind.

Triggers and foreign keys are off meanwhile and indexes are made at the end, which is thirty times as fast; counts and
totals are then set from the rows, as the triggers would have set them.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from psycopg import Connection, sql

Database = Connection[tuple[object, ...]]

VOCABULARY = 2_000
COMMON, RARE = "lecture", "quixotic"
"""Words that about one name in three has, and one in 100,000."""
_TABLES = (
    *("uploads_storedfile", "media_media", "media_mediaversion", "media_medialink", "media_historyentry"),
    *("courses_course", "courses_membership", "courses_chapter", "courses_video"),
)


@dataclass(frozen=True, slots=True)
class Size:
    """How large: ``courses`` with 10 chapters of 10 videos each; each used file has ``links`` on average."""

    files: int = 1_000_000
    links: int = 3_000_000
    courses: int = 2_000


def build(database: Database, owner: UUID, size: Size, say: Callable[[str], None]) -> None:
    """Give a user who has nothing yet a library and courses of this size."""
    values = {"owner": owner, "files": size.files, "courses": size.courses, "links": size.links}
    values |= {"words": _words(), "common": COMMON, "rare": RARE}
    with _bare(database):
        for name, statement in _STATEMENTS.items():
            say(f"  {name} …")
            database.execute(statement, values)
        # To count wrote every file a second time: a table of which half is holes is not one that a library grows into.
        database.execute("VACUUM (FULL) media_media")
        say("  indexes …")
    database.execute("VACUUM (ANALYZE)")


def _words() -> list[str]:
    """Invent words, each of two or three syllables, no two of them alike."""
    dice = random.Random(1)
    syllables = [first + vowel + last for first in "bdfgklmnprst" for vowel in "aeiou" for last in "lnrsx"]
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        words["".join(dice.choices(syllables, k=dice.choice((2, 3))))] = None
    return list(words)


@contextmanager
def _bare(database: Database) -> Iterator[None]:
    """Take away what slows writing in bulk, and give it back."""
    constraints = database.execute(_CONSTRAINTS, [list(_TABLES)]).fetchall()
    for table, name, _ in constraints:
        database.execute(_text(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"'))
    indexes = database.execute(_INDEXES, [list(_TABLES)]).fetchall()
    statistics = database.execute(_STATISTICS, [list(_TABLES)]).fetchall()
    for name, _ in indexes:
        database.execute(_text(f'DROP INDEX "{name}"'))
    database.execute("SET session_replication_role = replica")
    database.execute("SET maintenance_work_mem = '512MB'")
    database.execute("SET work_mem = '256MB'")
    database.execute("SELECT setseed(0.42)")
    yield
    database.execute("SET session_replication_role = origin")
    for _, definition in indexes:
        database.execute(_text(str(definition)))
    for name, column, target in statistics:
        database.execute(_text(f'ALTER INDEX "{name}" ALTER COLUMN {column} SET STATISTICS {target}'))
    for table, name, definition in constraints:
        # Not to look at millions of rows again of which all is known.
        unchecked = " NOT VALID" if str(definition).startswith("FOREIGN KEY") else ""
        database.execute(_text(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}{unchecked}'))


def _text(statement: str) -> sql.SQL:
    return sql.SQL(statement)  # type: ignore[arg-type]


_CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid::regclass::text = ANY(%s) AND contype IN ('u', 'f')
    ORDER BY contype = 'f', conname
"""
_INDEXES = """
    SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s)
        AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""
_STATISTICS = """
    SELECT indexname, attnum, attstattarget FROM pg_indexes JOIN pg_attribute ON attrelid = indexname::regclass
    WHERE tablename = ANY(%s) AND attstattarget > 0 AND indexname NOT IN (SELECT conname FROM pg_constraint)
"""

# Ids are of version 7, in the order of their times, with the number of the row at the end: so one row finds another.
_ID = """
    CREATE FUNCTION pg_temp.id_of(kind int, at timestamptz, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
        SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(kind), 3, '0')
            || '8000' || lpad(to_hex(number), 12, '0'))::uuid
    $$
"""
_PEOPLE_AND_COURSES = """
    INSERT INTO courses_course (id, owner_id, title, description, version, created_at, updated_at)
    SELECT id_of, %(owner)s, 'Course ' || number, '', 1, at, at
    FROM (SELECT number, now() - interval '3 years' + number * interval '1 minute' AS at
        FROM generate_series(0, %(courses)s - 1) AS number) AS row,
        LATERAL pg_temp.id_of(1, at, number) AS id_of
"""
_MEMBERSHIPS = """
    INSERT INTO courses_membership (id, course_id, user_id, role)
    SELECT gen_random_uuid(), id, owner_id, 'owner' FROM courses_course
"""
_CHAPTERS = """
    INSERT INTO courses_chapter (id, course_id, title, position, version, created_at, updated_at)
    SELECT pg_temp.id_of(2, created_at, row_number() OVER (ORDER BY id, position) - 1), id, 'Chapter ' || position,
        position, 1, created_at, created_at
    FROM courses_course, generate_series(0, 9) AS position WHERE owner_id = %(owner)s
"""
_VIDEOS = """
    INSERT INTO courses_video (id, course_id, chapter_id, title, filename, position, status, version, created_at,
        updated_at)
    SELECT pg_temp.id_of(3, chapter.created_at, row_number() OVER (ORDER BY chapter.id, place) - 1), course_id,
        chapter.id, 'Video ' || place, '', place, 'empty', 1, chapter.created_at, chapter.created_at
    FROM courses_chapter chapter, generate_series(0, 9) AS place
"""
# Common words come often and rare ones seldom, sizes go with categories, a few are in the trash or have failed.
_FILES = """
    INSERT INTO media_media (id, owner_id, name, category, status, content_type, size, current_version, link_count,
        version, created_at, updated_at, deleted_at, purge_at)
    SELECT pg_temp.id_of(4, at, number), %(owner)s,
        CASE WHEN number %% 100000 = 77 THEN %(rare)s || ' ' WHEN random() < 0.33 THEN initcap(%(common)s) || ' '
            ELSE '' END
            || (%(words)s::text[])[1 + floor(power(random(), 3) * 2000)] || ' '
            || (%(words)s::text[])[1 + floor(random() * 2000)] || ' ' || number || ending,
        category, CASE WHEN kind < 0.001 THEN 'error' ELSE 'complete' END, type,
        (floor * power(10, 3 * random()))::bigint, 1, 0, 1, at, at,
        CASE WHEN fate < 0.02 THEN now() - interval '3 days' END,
        CASE WHEN fate < 0.02 THEN now() + interval '27 days' END
    FROM (
        SELECT number, random() AS kind, random() AS fate,
            now() - interval '3 years' + number * (interval '3 years' / %(files)s) AS at
        FROM generate_series(0, %(files)s - 1) AS number
    ) AS row, LATERAL (
        SELECT * FROM (VALUES (0.5, 'video', 'video/mp4', '.mp4', 1e6), (0.8, 'image', 'image/jpeg', '.jpg', 1e4),
            (0.95, 'document', 'application/pdf', '.pdf', 2e4), (1.0, 'other', 'application/zip', '.zip', 1e3)
        ) AS kinds(below, category, type, ending, floor) WHERE kind < below ORDER BY below LIMIT 1
    ) AS kinds
"""
_STORED = """
    INSERT INTO uploads_storedfile (id, key, size, content_type, category, filename, duration_ms, codecs, format,
        created_at)
    SELECT id, 'media/' || owner_id || '/' || id, size, content_type, category, name, 60000, '[]', 'mp4', created_at
    FROM media_media
"""
_VERSIONS = """
    INSERT INTO media_mediaversion (id, media_id, number, file_id, created_by, created_at)
    SELECT id, id, 1, id, owner_id, created_at FROM media_media
"""
# Two of three files are used. Seven of ten links are to videos, two to chapters, one to a course; one file has 20,000.
_LINKS = """
    WITH files AS MATERIALIZED (
        SELECT row_number() OVER () - 1 AS number, id FROM media_media
        WHERE deleted_at IS NULL AND right(id::text, 1) < 'b' ORDER BY id
    ), many AS (SELECT count(*) AS files FROM files), videos AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY id) - 1 AS number, id, chapter_id, course_id FROM courses_video
    ), wanted AS (
        SELECT number, CASE WHEN number < 20000 THEN 0 ELSE number %% many.files END AS file,
            (number * 7919 + number / 200003) %% (%(courses)s * 100) AS video, (random() * 10)::int AS kind,
            'role' || number / many.files AS role
        FROM generate_series(0::bigint, %(links)s - 1) AS number, many
    )
    INSERT INTO media_medialink (id, media_id, home_id, course_id, chapter_id, video_id, role, position, created_by,
        created_at)
    SELECT pg_temp.id_of(5, now() - interval '1 year' + wanted.number * interval '10 ms', wanted.number), files.id,
        course_id, CASE WHEN kind = 0 THEN course_id END, CASE WHEN kind IN (1, 2) THEN chapter_id END,
        CASE WHEN kind > 2 THEN videos.id END, role || '-' || wanted.number, wanted.number %% 40, %(owner)s,
        now() - interval '1 year' + wanted.number * interval '10 ms'
    FROM wanted JOIN files ON files.number = file JOIN videos ON videos.number = video
"""
_COUNTS = """
    UPDATE media_media media SET link_count = links, last_used_at = youngest
    FROM (SELECT media_id, count(*) AS links, max(created_at) AS youngest FROM media_medialink GROUP BY 1) AS found
    WHERE media.id = media_id
"""
_TOTALS = """
    INSERT INTO media_librarytotal (owner_id, category, trashed, count, bytes)
    SELECT owner_id, category, trashed, count(*), sum(size) FROM media_media GROUP BY 1, 2, 3
"""
_DELETIONS = """
    INSERT INTO media_deletion (id, media_id, created_at)
    SELECT id, id, deleted_at FROM media_media WHERE deleted_at IS NOT NULL
"""
_HISTORY = """
    INSERT INTO media_historyentry (id, owner_id, media_id, media_name, action, actor_id, operation_id, details,
        created_at)
    SELECT id, owner_id, id, name, 'media.upload', owner_id, 'upload-' || id, '{}', created_at FROM media_media
"""
_STATEMENTS = {
    "ids": _ID,
    "courses": _PEOPLE_AND_COURSES,
    "memberships": _MEMBERSHIPS,
    "chapters": _CHAPTERS,
    "videos": _VIDEOS,
    "files": _FILES,
    "what is stored": _STORED,
    "versions": _VERSIONS,
    "links": _LINKS,
    "counts": _COUNTS,
    "totals": _TOTALS,
    "deletions": _DELETIONS,
    "history": _HISTORY,
}
