"""Questions about libraries: lists and searches, where files are used, what would happen, what happened."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from apps.accounts.models import User
from apps.core import errors, sql
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
    found = sql.rows_planned_anew(_page(ordering, conditions), [*values, query.limit + 1])
    shown, has_more = found[: query.limit], len(found) > query.limit
    files = Media.objects.in_bulk([id_ for id_, _ in shown])
    cursor = ordering.cursor(shown[-1][1], shown[-1][0]) if has_more else None
    return [files[id_] for id_, _ in shown if id_ in files], cursor


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
    words = [f"%{_escaped(word)}%" for word in (query.q or "").split()]
    return [*wanted, *("lower(name) LIKE lower(%s)" for _ in words)], [*wanted.values(), *words]


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
    ids = [file.pk for file in files]
    current = MediaVersion.objects.filter(media__in=ids, number=F("media__current_version"))
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
    if not within:
        return links(user).filter(**{target_type: target_id})
    inside = {
        "course": Q(home=target_id),
        "chapter": Q(chapter=target_id) | Q(video__chapter=target_id),
        "video": Q(video=target_id),
    }
    return links(user).filter(inside[target_type])


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
    }
    return HistoryEntry.objects.filter(**{name: value for name, value in wanted.items() if value is not None})
