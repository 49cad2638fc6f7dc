"""Questions about libraries: lists and searches, where files are used, what would happen, what happened."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from apps.accounts.models import User
from apps.core import errors, ids, sql
from apps.courses.models import Chapter, Course, Membership, Video
from apps.media import show
from apps.media.library import LinkRow, Target
from apps.media.models import Category, HistoryEntry, LibraryTotal, Media, MediaLink, MediaVersion, RemovedLink
from apps.media.paging import ORDERS, Ordering
from apps.media.schemas import HistoryQuery, LibraryQuery


def library(user: User, query: LibraryQuery) -> tuple[list[Media], str | None]:
    """Give one page of a user's files, and the cursor of the next."""
    ordering = Ordering.read(query.ordering)
    found = _find(ordering, user, query, query.limit + 1)
    shown, has_more = found[: query.limit], len(found) > query.limit
    files = Media.objects.in_bulk([id_ for id_, _ in shown])
    cursor = ordering.cursor(shown[-1][1], shown[-1][0]) if has_more else None
    return [files[id_] for id_, _ in shown if id_ in files], cursor


Found = list[tuple[UUID, Any]]


@dataclass(frozen=True, slots=True)
class _Condition:
    """A condition in SQL on a column; what a client wrote is only ever among the values."""

    column: str
    sql: str
    values: Sequence[Any]


def _find(ordering: Ordering, user: User, query: LibraryQuery, wanted: int) -> Found:
    if query.trashed and query.usage == "used":
        return []
    theirs = [_Condition("owner", "owner_id = %s", [user.pk]), _Condition("trashed", "trashed = %s", [query.trashed])]
    filters, words = _filters(query), [_Word(word) for word in (query.q or "").split()]
    columns = {one.column for one in filters}
    led = ordering.led_by(columns, trashed=query.trashed)
    leading, others = [one for one in filters if one.column in led], [one for one in filters if one.column not in led]
    after = _after(ordering, query)
    if not words and (not others or (columns <= _SPREAD and not query.trashed)):
        return _page(ordering, [*theirs, *leading, *after, *others], wanted)
    found = _page_nearby(ordering, [*theirs, *leading], after, [*others, *(word.anywhere for word in words)], wanted)
    if found is not None:
        return found
    fitting, after = [*theirs, *filters], _after(ordering, query, "place")
    if ordering.name == "name" and words:
        begun = _begun(ordering, query, theirs, filters, words, wanted)
        if begun is not None:
            fitting += [words[0].further_on, *(word.indexed for word in words[1:])]
            return _merged(ordering, begun, _page_of_all(ordering, fitting, after, wanted), wanted)
    return _page_of_all(ordering, [*fitting, *(word.indexed for word in words)], after, wanted)


_SPREAD = {"category", "used"}
"""What fits these is spread over every order that has no index with them."""


def _after(ordering: Ordering, query: LibraryQuery, place: str = "") -> list[_Condition]:
    return [] if query.cursor is None else [_Condition("place", *ordering.after(query.cursor, place))]


def _begun(
    ordering: Ordering, query: LibraryQuery, theirs: Sequence[_Condition], filters: Sequence[_Condition],
    words: Sequence["_Word"], wanted: int,
) -> Found | None:  # fmt: skip
    """
    Read a page of the names that begin with the first word; None: too few of the next ones fit.

    A cursor before or after all of them is no condition: an index would be read from there.
    """
    first, *more = words
    ((begin,),) = sql.rows("SELECT lower(%s::text)", [first.text])
    place = ordering.place(query.cursor) if query.cursor else None
    is_among = place is not None and place.startswith(begin)
    if place is not None and not is_among and (place < begin) == ordering.descending:
        return []
    after = _after(ordering, query) if is_among else []
    return _page_nearby(
        ordering, [*theirs, first.at_start], after, [*filters, *(word.anywhere for word in more)], wanted
    )


def _filters(query: LibraryQuery) -> list[_Condition]:
    given = [
        ("category", "category = %s", query.category),
        # All that is in the trash is unused.
        ("used", "used = %s", None if query.usage is None or query.trashed else query.usage == "used"),
        ("status", "status = %s", query.status),
        ("size", "size >= %s", query.min_size),
        ("size", "size <= %s", query.max_size),
        ("created_at", "created_at > %s", query.created_after),
        ("created_at", "created_at < %s", query.created_before),
    ]
    return [_Condition(column, text, [value]) for column, text, value in given if value is not None]


def _sql(conditions: Sequence[_Condition]) -> str:
    return " AND ".join(one.sql for one in conditions) or "true"


def _values(conditions: Sequence[_Condition]) -> list[Any]:
    return [*chain.from_iterable(one.values for one in conditions)]


def _page(ordering: Ordering, where: Sequence[_Condition], wanted: int) -> Found:
    """Read a page as the planner sees fit."""
    statement = (
        f"SELECT id, {ordering.expression} FROM media_media WHERE {_sql(where)} "  # noqa: S608 (all of it is ours)
        f"ORDER BY {ordering.sql} LIMIT %s"
    )
    return sql.rows_planned_anew(statement, [*_values(where), wanted])


def _page_nearby(
    ordering: Ordering,
    where: Sequence[_Condition],
    after: Sequence[_Condition],
    filters: Sequence[_Condition],
    wanted: int,
) -> Found | None:
    """
    Read a page from the next files in its order; None: too few of them fit.

    The planner takes filters, orders and letters for independent. Where they are not, as with small files in the order
    of sizes, it would go through half a library in the hope of the next one, so it is not asked for a plan. When hardly
    any of the first ones fit, that is all: what fits is rare then, and soon found by an index. How many names have the
    letters, the planner does know. Few are found by an index sooner than among what comes next, for in any order names
    with a word may lie in heaps; of very many the first ones were an odd stretch.
    """
    found, last = _fitting(ordering, [*where, *after], filters, wanted, _AT_FIRST)
    missing = wanted - len(found)
    if not missing or last is None:
        return found
    in_index = ordering.has([one.column for one in filters])
    among = _THEN_IN_INDEX if in_index else _THEN
    hopeful = len(found) * among >= missing * _AT_FIRST * (2 if in_index else 1)
    judged = filters if in_index else [one for one in filters if one.column == _NAME]
    if judged and (hopeful or in_index):
        fit = _estimate([*where, *judged])
        hopeful = fit >= _FEW and (hopeful or (in_index and fit >= _MANY))
    if not hopeful:
        return None
    beyond = _Condition("place", *ordering.beyond(last[1], last[0]))
    more, last = _fitting(ordering, [*where, beyond], filters, missing, among)
    return [*found, *more] if len(more) == missing or last is None else None


_AT_FIRST = 1_500
_THEN = 10_500
_THEN_IN_INDEX = 30_000
"""Where the table need not be read, files cost a fifth."""
_FEW, _MANY = 10_000, 40_000
"""So many files take some 15 and 60 ms to be found by an index and sorted."""


def _estimate(conditions: Sequence[_Condition]) -> int:
    """Ask the planner how many files fit."""
    ((plan,),) = sql.rows_planned_anew(
        f"EXPLAIN (FORMAT JSON) SELECT id FROM media_media WHERE {_sql(conditions)}",  # noqa: S608
        _values(conditions),
    )
    return int(plan[0]["Plan"]["Plan Rows"])


def _fitting(
    ordering: Ordering, where: Sequence[_Condition], filters: Sequence[_Condition], wanted: int, among: int
) -> tuple[Found, tuple[UUID, Any] | None]:
    """
    Read which of so many next files fit, ``wanted`` at most.

    If fewer fit, the last of those files comes too, unless there are no more of them.
    """
    near = f"""
        SELECT id, {ordering.expression} AS place, {_sql(filters)} AS fits,
            row_number() OVER (ORDER BY {ordering.sql}) AS number
        FROM media_media WHERE {_sql(where)} ORDER BY {ordering.sql} LIMIT %s
    """  # noqa: S608
    found = sql.rows_planned_anew(
        f"SELECT id, place, fits, number FROM ({near}) AS near WHERE fits OR number = %s "  # noqa: S608
        f"ORDER BY {ordering.by_place} LIMIT %s",
        [*_values(filters), *_values(where), among, among, wanted],
    )
    fitting = [(id_, place) for id_, place, fits, _ in found if fits]
    return fitting, next(((id_, place) for id_, place, _, number in found if number == among), None)


@transaction.atomic
def _page_of_all(
    ordering: Ordering, conditions: Sequence[_Condition], after: Sequence[_Condition], wanted: int
) -> Found:
    """
    Find all that fits, by whatever index that is found soonest, and sort it.

    What comes after a cursor is chosen from that: among the conditions it misleads the planner once more.
    """
    sql.execute("SET LOCAL enable_seqscan = off", [])
    fitting = f"SELECT id, {ordering.expression} AS place FROM media_media WHERE {_sql(conditions)}"  # noqa: S608
    return sql.rows_planned_anew(
        f"SELECT id, place FROM ({fitting} OFFSET 0) AS fitting WHERE {_sql(after)} "  # noqa: S608
        f"ORDER BY {ordering.by_place} LIMIT %s",
        [*_values(conditions), *_values(after), wanted],
    )


def _merged(ordering: Ordering, one: Found, other: Found, wanted: int) -> Found:
    places = dict([*one, *other])
    return sorted(places.items(), key=lambda found: (found[1], found[0]), reverse=ordering.descending)[:wanted]


class _Word:
    """
    A word of a search: the conditions that a name contains it.

    ``anywhere`` is for names that are read anyway. For others there are two indexes: of how names begin, and of the
    letters by threes of all that follows the first one. So the names that begin with a word, which lie together in
    the order of names and may be a third of a library, do not get in the way of finding the others.
    """

    def __init__(self, word: str) -> None:
        escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        self.text = word
        is_there = any(map(str.isalnum, word))
        # The index knows letters and digits by threes, or how words begin.
        more = [f"{sign}{escaped}%" for sign in _BEFORE_WORDS] if is_there and len(word) < 3 else []
        start = [f"{escaped}%"] if is_there else []
        inside = [f"%{one}" for one in more or start]
        self.at_start = _like((_NAME, start))
        self.further_on = _like((f"substring({_NAME}, 2)", inside), (_NAME, more))
        self.indexed = _either(self.at_start, self.further_on)
        self.anywhere = _like((_NAME, inside if not more else [*start, *inside]))


_BEFORE_WORDS = (" ", "-", "\\_", ".", "(")
_NAME = ORDERS["name"].expression


def _like(*texts: tuple[str, Sequence[str]]) -> _Condition:
    """Make the condition that one of the texts matches one of its patterns."""
    either = [f"{text} LIKE lower(%s)" for text, patterns in texts for _ in patterns]
    values = [pattern for _, patterns in texts for pattern in patterns]
    return _Condition(_NAME, f"({' OR '.join(either) or 'false'})", values)


def _either(one: _Condition, other: _Condition) -> _Condition:
    return _Condition(one.column, f"({one.sql} OR {other.sql})", [*one.values, *other.values])


def totals(user: User, *, trashed: bool) -> dict[str, dict[str, int]]:
    """Count a user's files and their bytes by category, in the library or in its trash."""
    found = {row.category: row for row in LibraryTotal.objects.filter(owner=user, trashed=trashed)}
    return {
        category: {"count": found[category].count, "bytes": found[category].bytes}
        if category in found
        else {"count": 0, "bytes": 0}
        for category in Category.values
    }


def current_versions(files: Iterable[Media]) -> dict[UUID, MediaVersion]:
    """Map files to their current versions, with what is stored; those without one are left out."""
    current = MediaVersion.objects.filter(media__in=[file.pk for file in files], number=F("media__current_version"))
    return {version.media_id: version for version in current.select_related("file")}


# Links


Links = QuerySet[MediaLink, Any]
"""
Links as `show.link` reads them: rows of `_LINK`, and ``readable``, which says whether the user may read the course.

Not as objects: six for each link take longer to be made than to be found.
"""

_LINK = (
    *("id", "media_id", "home_id", "role", "position", "created_by", "created_at", "home__title"),
    *("chapter_id", "chapter__title", "video_id", "video__title", "video__chapter_id", "video__chapter__title"),
)
_FILE = tuple(f"media__{name}" for name in ("owner_id", "name", "category", "status", "content_type", "size"))


def _links(user: User, *more: str) -> Links:
    mine = Membership.objects.filter(course=OuterRef("home"), user=user)
    return MediaLink.objects.annotate(readable=Exists(mine)).values_list(*_LINK, *more, "readable", named=True)


def links_of(user: User, media: Media) -> Links:
    """Return a file's links, as its owner sees them."""
    return _links(user).filter(media=media)


def links_at(user: User, target_type: str, target_id: UUID, *, within: bool) -> Links:
    """
    Return a target's links with their files, as a member of its course sees them.

    ``within``: those of what is in it, too.
    """
    links = _links(user, *_FILE)
    if not within or target_type == "video":
        return links.filter(**{target_type: target_id})
    if target_type == "course":
        return links.filter(home=target_id)
    # Named one by one: an OR over a join would read every link there is.
    videos = list(Video.objects.filter(chapter=target_id).values_list("pk", flat=True))
    return links.filter(Q(chapter=target_id) | Q(video__in=videos))


def blockers(owner_id: UUID, links: Sequence[LinkRow]) -> list[dict[str, Any]]:
    """Say what uses a file by these links: type, id, title, path; without titles where its owner may not read."""
    homes = {UUID(link.home_id) for link in links}
    readable = {
        str(id_) for id_ in Membership.objects.filter(user=owner_id, course__in=homes).values_list("course", flat=True)
    }
    paths = _paths(links)
    return [show.blocker(link, paths.get(link.target) if link.home_id in readable else None) for link in links]


def _paths(links: Sequence[LinkRow]) -> dict[Target, list[dict[str, Any]]]:
    """Name the way from its course to each target that is there."""
    named: dict[str, list[str]] = {"course": [], "chapter": [], "video": []}
    for link in links:
        named[link.target.type].append(link.target.id)
    courses = Course.objects.filter(pk__in=named["course"])
    chapters = Chapter.objects.filter(pk__in=named["chapter"]).select_related("course")
    videos = Video.objects.filter(pk__in=named["video"]).select_related("course", "chapter")
    return {
        **{Target("course", str(row.pk)): show.path(row) for row in courses},
        **{Target("chapter", str(row.pk)): show.path(row.course, row) for row in chapters},
        **{Target("video", str(row.pk)): show.path(row.course, row.chapter, row) for row in videos},
    }


def removed_links(media_id: UUID) -> "QuerySet[RemovedLink]":
    """Return the links that went with a file into the trash."""
    return RemovedLink.objects.filter(deletion__media=media_id)


# Sharing


def plays(user: User, media_id: UUID) -> bool:
    """Say whether a user is a member of a course that a file is linked into."""
    mine = Membership.objects.filter(course=OuterRef("home"), user=user)
    return MediaLink.objects.filter(Exists(mine), media=media_id).exists()


# History


def check_known(user: User, media_id: UUID) -> None:
    """
    Insist that the user has, or had, this file.

    Raises:
        errors.NotFound: they never did.
    """
    mine = Media.objects.filter(pk=media_id, owner=user)
    if not mine.exists() and not HistoryEntry.objects.filter(media_id=media_id, owner_id=user.pk).exists():
        raise errors.NotFound("There is no such file.")


_MOMENTS = 600
"""How many seconds at most lie between an entry's time and that of its id."""


def history(user: User, query: HistoryQuery, media_id: UUID | None = None) -> "QuerySet[HistoryEntry]":
    """Return the history of a user's files, or of one of them, gone ones included; see `history_is_alike_in`."""
    wanted: dict[str, Any] = {
        "owner_id": user.pk,
        "media_id": media_id or query.media_id,
        "action": query.action,
        "actor_id": query.actor_id,
        "operation_id": query.operation,
        "created_at__gt": query.after,
        "created_at__lt": query.before,
        # The same again, roughly, for the order by id. An entry gets its id within moments of its time.
        "id__gte": ids.first_at(query.after, -_MOMENTS) if query.after else None,
        "id__lt": ids.first_at(query.before, _MOMENTS) if query.before else None,
    }
    for name in history_is_alike_in(query, media_id):
        wanted[f"{name}__gte"] = wanted[f"{name}__lte"] = wanted.pop(name)
    return HistoryEntry.objects.filter(**{name: value for name, value in wanted.items() if value is not None})


def history_is_alike_in(query: HistoryQuery, media_id: UUID | None = None) -> list[str]:
    """
    Name the column to order a history by before its ids: the one that is asked for, if it is only that.

    A library's history in the order of ids, read until the next line fits, looks as good to the planner as an index by
    action, or by actor, wherever it holds most lines to fit, or does not know which are asked for; and then none may,
    of a million. Between an order that begins with the column, and a range of it, there is no such choice.
    """
    asked = {"action": query.action, "actor_id": query.actor_id}
    given = [name for name, value in asked.items() if value is not None]
    return given if len(given) == 1 and (media_id or query.media_id or query.operation) is None else []
