"""Questions about libraries: lists and searches, where files are used, what would happen, what happened."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any
from uuid import UUID

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
    conditions, values = _conditions(user, query)
    if query.cursor is not None:
        after, more = ordering.after(query.cursor)
        conditions, values = [*conditions, after], [*values, *more]
    few = _few_by_size(user, query, ordering)
    if few is not None:
        conditions, values = [*conditions, "id = ANY(%s)"], [*values, few]
    found = sql.rows_planned_anew(_page(ordering, conditions), [*values, query.limit + 1])
    shown, has_more = found[: query.limit], len(found) > query.limit
    files = Media.objects.in_bulk([id_ for id_, _ in shown])
    cursor = ordering.cursor(shown[-1][1], shown[-1][0]) if has_more else None
    return [files[id_] for id_, _ in shown if id_ in files], cursor


def _few_by_size(user: User, query: LibraryQuery, ordering: Ordering) -> list[UUID] | None:
    """
    Name the files of the sizes asked for, if they are few; None: they are many, or need not be known.

    The planner takes sizes and categories for independent, which they are not: in another order it would read half a
    library for small videos, of which there are none.
    """
    if ordering.name == "size" or (query.min_size is None and query.max_size is None):
        return None
    only = query.model_copy(update=dict.fromkeys(("q", "usage", "status", "created_after", "created_before"), None))
    conditions, values = _conditions(user, only)
    where = " AND ".join(conditions)
    statement = f"SELECT id FROM media_media WHERE {where} ORDER BY size, id LIMIT %s"  # noqa: S608 (all of it is ours)
    found = sql.rows_planned_anew(statement, [*values, _FEW + 1])
    return [id_ for (id_,) in found] if len(found) <= _FEW else None


_FEW = 3_000


def _page(ordering: Ordering, conditions: Sequence[str]) -> str:
    where = " AND ".join(conditions)
    return f"SELECT id, {ordering.expression} FROM media_media WHERE {where} ORDER BY {ordering.sql} LIMIT %s"  # noqa: S608 (all of it is ours)


def _conditions(user: User, query: LibraryQuery) -> tuple[list[str], list[Any]]:
    """Turn filters into SQL; what a client wrote is only ever among the values."""
    given = {
        "owner_id = %s": user.pk,
        "trashed = %s": query.trashed,
        "category = %s": query.category,
        "used = %s": None if query.usage is None else query.usage == "used",
        "status = %s": query.status,
        "size >= %s": query.min_size,
        "size <= %s": query.max_size,
        "created_at > %s": query.created_after,
        "created_at < %s": query.created_before,
    }
    wanted = {condition: value for condition, value in given.items() if value is not None}
    words = [_patterns(word) for word in (query.q or "").split()]
    searches = ["(" + " OR ".join("lower(name) LIKE lower(%s)" for _ in patterns) + ")" for patterns in words]
    return [*wanted, *searches], [*wanted.values(), *chain.from_iterable(words)]


def _patterns(word: str) -> list[str]:
    """List the patterns one of which a name has to match. The index knows letters by threes, or how words begin."""
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
