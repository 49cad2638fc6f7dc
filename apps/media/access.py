"""
Finding what a user may see or change.

A library is its owner's alone. Whoever is a member of a course may see and play what is linked into it; that is all:
they are told that they may not do more, where others are told that there is nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from apps.accounts.models import User
from apps.core.errors import NotFound, PermissionDenied
from apps.courses import access as courses
from apps.media import selectors
from apps.media.errors import InTrash
from apps.media.models import Media, MediaLink
from apps.operations import selectors as operations
from apps.operations.models import Step, StepStatus
from broadcast.contracts import topics


@dataclass(frozen=True, slots=True)
class Found:
    """
    A file to be changed; ``row`` is None while it is still being created by the same user.

    ``is_settled``: nothing ahead may yet change it, so that what is wrong now is wrong when its turn comes.
    """

    owner_id: UUID
    row: Media | None
    is_settled: bool

    @property
    def lane(self) -> str:
        """The lane in which it is changed, which is named like its owner's topic."""
        return topics.user(self.owner_id)


def readable(user: User, media_id: UUID) -> Media:
    """
    Find a file of the user's library or trash.

    Raises:
        NotFound: there is none that the user knows of.
        PermissionDenied: it is somebody else's, and linked into a course of the user's.
    """
    row = Media.objects.filter(pk=media_id, owner=user).first()
    if row is None:
        raise _refusal(user, media_id)
    return row


def changeable(user: User, media_id: UUID, *, also_in_trash: bool = False) -> Found:
    """
    Find a file of the user's to be changed; one that they are about to have created is there already.

    Raises:
        NotFound, PermissionDenied: as for `readable`.
        InTrash: it is in the trash, and will still be when the change's turn comes.
    """
    # Asked first: what is done in between shows in the row, and not the other way round.
    is_settled = not operations.has_pending(topics.user(user.pk))
    row = Media.objects.filter(pk=media_id, owner=user).first()
    if row is None and operations.pending_creation(user, "mediaId", media_id) is None:
        # What was created between the two questions is found by the third.
        row = Media.objects.filter(pk=media_id, owner=user).first()
        if row is None:
            raise _refusal(user, media_id)
    if row and row.deleted_at and not also_in_trash and is_settled:
        raise InTrash
    return Found(user.pk, row, is_settled and row is not None)


def _refusal(user: User, media_id: UUID) -> NotFound | PermissionDenied:
    return PermissionDenied() if selectors.plays(user, media_id) else NotFound("There is no such file.")


def playable(user: User, media_id: UUID) -> Media:
    """
    Find a file that the user may play: their own, or one that is linked into a course that they may read.

    Raises:
        NotFound: there is none.
    """
    row = Media.objects.filter(pk=media_id).first()
    if row is None or not (row.owner_id == user.pk or (row.deleted_at is None and selectors.plays(user, media_id))):
        raise NotFound("There is no such file.")
    return row


@dataclass(frozen=True, slots=True)
class FoundLink:
    """A link to be removed: the ids that its end is told with."""

    owner_id: UUID
    link_id: UUID
    media_id: str
    course_id: str
    target_type: str
    target_id: str
    role: str


def removable_link(user: User, link_id: UUID) -> FoundLink:
    """
    Find a link that the user may remove: of a file of theirs, or in a course that they may edit.

    Raises:
        NotFound: there is none that they know of.
        PermissionDenied: they may only see it.
    """
    row = MediaLink.objects.select_related("media").filter(pk=link_id).first()
    if row is None:
        return _link_to_come(user, link_id)
    if row.media.owner_id != user.pk:
        courses.changeable_course(user, row.home_id, "media.unlink")
    return _found_link(row)


def own_links(user: User, ids: Collection[UUID]) -> dict[UUID, FoundLink]:
    """Find the links of the user's files among these; one that they are about to have made is there already."""
    # Asked first: what is made in between shows in the rows, and not the other way round.
    making = Step.objects.filter(
        lane=topics.user(user.pk), status=StepStatus.PENDING, action="media.link", creates__in=ids
    )
    coming = {link.link_id: link for link in (_link_made_by(step, user) for step in making)}
    rows = MediaLink.objects.filter(pk__in=ids, media__owner=user).select_related("media")
    return coming | {row.pk: _found_link(row) for row in rows}


def _found_link(row: MediaLink) -> FoundLink:
    """Describe a link that is there; its ``media`` is loaded."""
    type_ = "video" if row.video_id else "chapter" if row.chapter_id else "course"
    target = row.video_id or row.chapter_id or row.course_id
    ids = (str(row.media_id), str(row.home_id), type_, str(target), row.role)
    return FoundLink(row.media.owner_id, row.pk, *ids)


def _link_to_come(user: User, link_id: UUID) -> FoundLink:
    coming = operations.pending_creation(user, "linkId", link_id)
    if coming is None:
        row = MediaLink.objects.select_related("media").filter(pk=link_id, media__owner=user).first()
        if row is None:
            raise NotFound("There is no such link.")
        return _found_link(row)
    return _link_made_by(coming, user)


def _link_made_by(step: Step, user: User) -> FoundLink:
    """Describe the link that a step of the user's is about to make; only a file's owner makes any."""
    payload = step.payload
    named = (payload["mediaId"], payload["courseId"], payload["targetType"], payload["targetId"], payload["role"])
    return FoundLink(user.pk, UUID(payload["linkId"]), *named)


def check_target_readable(user: User, target_type: str, target_id: UUID) -> None:
    """
    Insist that the user may read a course, or what the target is in.

    Raises:
        NotFound: there is none.
    """
    find = {"course": courses.readable, "chapter": courses.readable_chapter, "video": courses.readable_video}
    find[target_type](user, target_id)


def linkable_target(user: User, target_type: str, target_id: UUID) -> UUID:
    """
    Find the course of a target that the user may link files to.

    Raises:
        NotFound, PermissionDenied, Gone: about the course.
    """
    if target_type == "course":
        return courses.changeable_course(user, target_id, "media.link").course_id
    if target_type == "chapter":
        return courses.changeable_chapter(user, target_id, "media.link").course_id
    return courses.changeable_video(user, target_id, "media.link").course_id
