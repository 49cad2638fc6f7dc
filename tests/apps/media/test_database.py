"""What the database keeps right by itself, whoever writes."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Count, QuerySet, Sum

from apps.accounts.models import User
from apps.core import clock
from apps.courses.models import Chapter, Course, Video
from apps.media.models import HistoryEntry, LibraryTotal, Media, MediaLink

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def a_file(owner: User, **more: Any) -> Media:
    """Make a file of a library, as if it had been uploaded."""
    values = {"name": "a.mp4", "category": "video", "status": "complete", "size": 10, **more}
    return Media.objects.create(owner=owner, created_at=NOW, updated_at=NOW, **values)


def a_link(media: Media, home: Course, **target: Any) -> MediaLink:
    """Link a file to a course, or to the chapter or video in it that is given."""
    to = target or {"course": home}
    values = {"role": "attachment", "position": 0, "created_by": media.owner_id, "created_at": clock.now(), **to}
    return MediaLink.objects.create(media=media, home=home, **values)


def a_course(owner: User) -> tuple[Course, Chapter, Video]:
    course = Course.objects.create(owner=owner, title="C", created_at=NOW, updated_at=NOW)
    chapter = Chapter.objects.create(course=course, title="Ch", position=0, created_at=NOW, updated_at=NOW)
    at = {"created_at": NOW, "updated_at": NOW}
    return course, chapter, Video.objects.create(course=course, chapter=chapter, title="V", position=0, **at)


def totals(owner: User) -> dict[tuple[str, bool], tuple[int, int]]:
    rows = LibraryTotal.objects.filter(owner=owner).exclude(count=0)
    return {(row.category, row.trashed): (row.count, row.bytes) for row in rows}


def test_a_files_links_are_counted_however_they_come_and_go(owner: User) -> None:
    course, chapter, video = a_course(owner)
    media, other = a_file(owner), a_file(owner)
    a_link(media, course)
    a_link(media, course, chapter=chapter)
    youngest = a_link(media, course, video=video)
    a_link(other, course)
    media.refresh_from_db()

    assert (media.link_count, media.used, media.last_used_at) == (3, True, youngest.created_at)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM courses_video WHERE id = %s", [video.pk])
        cursor.execute("DELETE FROM courses_chapter WHERE id = %s", [chapter.pk])
    media.refresh_from_db()
    assert (media.link_count, media.last_used_at) == (1, youngest.created_at)
    MediaLink.objects.all().delete()
    media.refresh_from_db()
    other.refresh_from_db()
    assert (media.link_count, media.used, other.used) == (0, False, False)


def test_a_file_in_the_trash_cannot_have_links(owner: User) -> None:
    course, *_ = a_course(owner)
    trashed, linked = a_file(owner, deleted_at=NOW), a_file(owner)
    a_link(linked, course)

    with pytest.raises(IntegrityError, match="trashed_media_has_no_links"):
        a_link(trashed, course)
    with pytest.raises(IntegrityError, match="trashed_media_has_no_links"):
        Media.objects.filter(pk=linked.pk).update(deleted_at=NOW)
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute("DELETE FROM media_media WHERE id = %s", [linked.pk])


def test_a_file_takes_all_its_links_into_the_trash_by_one_write(owner: User) -> None:
    course, *_ = a_course(owner)
    media = a_file(owner)
    a_link(media, course)
    a_link(media, course, course=course, role="thumbnail")
    links = MediaLink.objects.filter(media=media)

    with pytest.raises(IntegrityError, match="has no links"):
        trash(media, links.filter(role="thumbnail"))
    trash(media, links)
    media.refresh_from_db()
    assert (media.link_count, media.trashed) == (0, True)


@transaction.atomic
def trash(media: Media, links: "QuerySet[MediaLink]") -> None:
    """Trash a file and then these links, as far as what is checked at the end of the transaction."""
    Media.objects.filter(pk=media.pk).update(deleted_at=NOW, link_count=0)
    links.delete()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_a_link_has_exactly_one_target_and_keeps_it(owner: User) -> None:
    course, chapter, video = a_course(owner)
    elsewhere, *_ = a_course(owner)
    media = a_file(owner)

    for target in ({"chapter": chapter, "video": video}, {"course": course, "video": video}, {"course": elsewhere}, {}):
        with pytest.raises(IntegrityError, match="link_has_exactly_one_target"):
            a_link(media, course, **(target or {"course": None}))
    link = a_link(media, course)
    with pytest.raises(IntegrityError, match="never pointed elsewhere"):
        MediaLink.objects.filter(pk=link.pk).update(course=None, chapter=chapter)


def test_a_file_is_linked_once_in_each_role_and_some_roles_have_room_for_one(owner: User) -> None:
    course, _, video = a_course(owner)
    media, other = a_file(owner), a_file(owner)
    a_link(media, course)
    a_link(media, course, course=course, role="thumbnail")
    a_link(media, course, video=video, role="source")

    with pytest.raises(IntegrityError, match="linked_once_in_each_role"):
        a_link(media, course)
    with pytest.raises(IntegrityError, match="one_link_in_a_single_role"):
        a_link(other, course, video=video, role="source")


def test_totals_follow_the_files_through_everything(owner: User, stranger: User) -> None:
    one, two = a_file(owner, size=5), a_file(owner, category="image", size=7)
    a_file(stranger, size=100)
    assert totals(owner) == {("video", False): (1, 5), ("image", False): (1, 7)}

    Media.objects.filter(pk=one.pk).update(deleted_at=NOW)
    Media.objects.filter(pk=two.pk).update(category="document", size=8)
    assert totals(owner) == {("video", True): (1, 5), ("document", False): (1, 8)}
    Media.objects.filter(owner=owner).delete()
    assert totals(owner) == {}
    assert totals(stranger) == {("video", False): (1, 100)}


def test_totals_are_what_counting_would_say(owner: User) -> None:
    for number in range(40):
        category = ("video", "image", "document", "other")[number % 4]
        a_file(owner, category=category, size=number, deleted_at=NOW if number % 3 else None)
    Media.objects.filter(size__lt=9).update(deleted_at=NOW)
    Media.objects.filter(size__gt=30).update(deleted_at=None, size=2)

    counted = Media.objects.filter(owner=owner).values("category", "trashed").annotate(n=Count("id"), b=Sum("size"))
    assert totals(owner) == {(row["category"], row["trashed"]): (row["n"], row["b"]) for row in counted}


def test_history_is_only_ever_added_to(owner: User) -> None:
    media = a_file(owner)
    ids = {"owner_id": owner.pk, "media_id": media.pk, "media_name": "a"}
    entry = HistoryEntry.objects.create(action="media.update", created_at=NOW, **ids)

    with pytest.raises(IntegrityError, match="only added to"), transaction.atomic():
        HistoryEntry.objects.filter(pk=entry.pk).update(action="nothing")
    with pytest.raises(IntegrityError, match="only added to"), transaction.atomic():
        HistoryEntry.objects.filter(pk=entry.pk).delete()
    with pytest.raises(IntegrityError, match="only added to"), transaction.atomic():
        entry.delete()
    media.delete()
    assert HistoryEntry.objects.get(pk=entry.pk).action == "media.update"
