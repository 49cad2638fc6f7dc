"""Questions about libraries: lists and searches, where files are used, what would happen, what happened."""

from collections.abc import Iterable, Mapping, Sequence
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
from apps.media.paging import Ordering
from apps.media.schemas import HistoryQuery, LibraryQuery


def library(user: User, query: LibraryQuery) -> tuple[list[Media], str | None]:
    """Give one page of a user's files, and the cursor of the next."""
    ordering = Ordering.read(query.ordering)
    theirs = _Conditions(["owner_id = %s", "trashed = %s"], [user.pk, query.trashed])
    filters, wanted = _filters(query), query.limit + 1
    if filters.are_indexed:
        found = _page(ordering, theirs + filters + _after(ordering, query), wanted)
    elif (nearby := _page_nearby(ordering, theirs + _after(ordering, query), filters, wanted)) is not None:
        found = nearby
    else:
        found = _page_of_all(ordering, theirs + filters, _after(ordering, query, "place"), wanted)
    shown, has_more = found[: query.limit], len(found) > query.limit
    files = Media.objects.in_bulk([id_ for id_, _ in shown])
    cursor = ordering.cursor(shown[-1][1], shown[-1][0]) if has_more else None
    return [files[id_] for id_, _ in shown if id_ in files], cursor


Found = list[tuple[UUID, Any]]


@dataclass(frozen=True, slots=True)
class _Conditions:
    """
    Conditions in SQL; what a client wrote is only ever among the values.

    ``are_indexed``: there is an index with them for every order, so that a page is read from it.
    """

    texts: list[str]
    values: list[Any]
    are_indexed: bool = True

    def __add__(self, other: "_Conditions") -> "_Conditions":
        return _Conditions([*self.texts, *other.texts], [*self.values, *other.values])

    @property
    def sql(self) -> str:
        """The conditions as one."""
        return " AND ".join(self.texts) or "true"


def _after(ordering: Ordering, query: LibraryQuery, place: str = "") -> _Conditions:
    if query.cursor is None:
        return _Conditions([], [])
    after, values = ordering.after(query.cursor, place)
    return _Conditions([after], values)


def _filters(query: LibraryQuery) -> _Conditions:
    indexed = {"category = %s": query.category, "used = %s": None if query.usage is None else query.usage == "used"}
    others = {
        "status = %s": query.status,
        "size >= %s": query.min_size,
        "size <= %s": query.max_size,
        "created_at > %s": query.created_after,
        "created_at < %s": query.created_before,
    }
    wanted = {condition: value for condition, value in (indexed | others).items() if value is not None}
    words = [_patterns(word) for word in (query.q or "").split()]
    searches = [
        "(" + " OR ".join(["lower(name) LIKE lower(%s)"] * len(patterns) or ["false"]) + ")" for patterns in words
    ]
    texts, values = [*wanted, *searches], [*wanted.values(), *chain.from_iterable(words)]
    return _Conditions(texts, values, are_indexed=wanted.keys() <= indexed.keys() and not words)


def _page(ordering: Ordering, conditions: _Conditions, wanted: int) -> Found:
    """Read a page as the planner sees fit."""
    statement = (
        f"SELECT id, {ordering.expression} FROM media_media WHERE {conditions.sql} "  # noqa: S608 (all of it is ours)
        f"ORDER BY {ordering.sql} LIMIT %s"
    )
    return sql.rows_planned_anew(statement, [*conditions.values, wanted])


def _page_nearby(ordering: Ordering, where: _Conditions, filters: _Conditions, wanted: int) -> Found | None:
    """
    Read a page from the next files in its order; None: too few of them fit.

    The planner takes filters, orders and letters for independent. Where they are not, as with small files in the order
    of sizes, it would go through half a library in the hope of the next one, so it is not asked.
    """
    near = f"""
        SELECT id, {ordering.expression} AS place, {filters.sql} AS fits FROM media_media
        WHERE {where.sql} ORDER BY {ordering.sql} LIMIT %s
    """  # noqa: S608
    found = sql.rows_planned_anew(
        f"WITH near AS MATERIALIZED ({near}) "  # noqa: S608
        f"(SELECT id, place, 0 FROM near WHERE fits ORDER BY {ordering.by_place} LIMIT %s) "
        "UNION ALL SELECT NULL, NULL, count(*) FROM near",
        [*filters.values, *where.values, _NEARBY, wanted],
    )
    *fitting, (_, _, looked_at) = found
    is_enough = len(fitting) == wanted or looked_at < _NEARBY
    return [(id_, place) for id_, place, _ in fitting] if is_enough else None


_NEARBY = 5_000


@transaction.atomic
def _page_of_all(ordering: Ordering, conditions: _Conditions, after: _Conditions, wanted: int) -> Found:
    """
    Find all that fits, by whatever index that is found soonest, and sort it.

    What comes after a cursor is chosen from that: among the conditions it misleads the planner once more.
    """
    sql.execute("SET LOCAL enable_seqscan = off", [])
    fitting = f"SELECT id, {ordering.expression} AS place FROM media_media WHERE {conditions.sql}"  # noqa: S608
    return sql.rows_planned_anew(
        f"WITH fitting AS MATERIALIZED ({fitting}) "  # noqa: S608
        f"SELECT id, place FROM fitting WHERE {after.sql} ORDER BY {ordering.by_place} LIMIT %s",
        [*conditions.values, *after.values, wanted],
    )


def _patterns(word: str) -> list[str]:
    """
    List the patterns one of which a name has to match; for signs alone there are none.

    The index knows letters and digits by threes, or how words begin.
    """
    if not any(map(str.isalnum, word)):
        return []
    escaped = _escaped(word)
    if len(word) > 2:
        return [f"%{escaped}%"]
    return [f"{escaped}%", *(f"%{_escaped(sign)}{escaped}%" for sign in _BEFORE_WORDS)]


_BEFORE_WORDS = " -_.("


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


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


def links(user: User) -> "QuerySet[MediaLink]":
    """Return links with their targets; ``readable`` says whether the user may read the course."""
    mine = Membership.objects.filter(course=OuterRef("home"), user=user)
    related = ("media", "home", "chapter", "video__chapter")
    return MediaLink.objects.select_related(*related).annotate(readable=Exists(mine))


def links_of(user: User, media: Media) -> "QuerySet[MediaLink]":
    """Return a file's links, as its owner sees them."""
    return links(user).filter(media=media)


def links_at(user: User, target_type: str, target_id: UUID, *, within: bool) -> "QuerySet[MediaLink]":
    """Return a target's links, as a member of its course sees them; ``within``: those of what is in it, too."""
    if not within or target_type == "video":
        return links(user).filter(**{target_type: target_id})
    if target_type == "course":
        return links(user).filter(home=target_id)
    # Named one by one: an OR over a join would read every link there is.
    videos = list(Video.objects.filter(chapter=target_id).values_list("pk", flat=True))
    return links(user).filter(Q(chapter=target_id) | Q(video__in=videos))


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
    """Return the history of a user's files, or of one of them, gone ones included."""
    wanted: Mapping[str, Any] = {
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
    return HistoryEntry.objects.filter(**{name: value for name, value in wanted.items() if value is not None})
