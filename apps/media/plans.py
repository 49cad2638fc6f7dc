"""
Turning requests into steps.

What can be refused now is refused here; what may change until the step runs is checked again when it does, and is not
refused while steps ahead of it may yet make it right.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from apps.accounts.models import User
from apps.core import errors, ids
from apps.courses.plans import resolve
from apps.media import access, schemas, selectors, store
from apps.media import links as link_table
from apps.media.access import Found
from apps.media.errors import BLOCKERS_MAX, InUse
from apps.media.library import SINGLE_ROLES, SOURCE
from apps.media.models import Media, MediaLink, MediaVersion
from apps.media.rules import BEING_UPLOADED, check_fits_role
from apps.operations.submit import Identity, NewStep, Plan
from broadcast.contracts import topics


def single(
    action: str, lane: str, payload: Mapping[str, Any], subject: Mapping[str, Any], *,
    creates: UUID | None = None, topic: str | None = None,
) -> Plan:  # fmt: skip
    """Plan one step. ``subject`` are the typed ids it is about, which its answer and its events name."""
    step = NewStep(action, lane, topic or lane, {**payload, **subject}, subject, creates)
    return Plan(kind=action, steps=[step], data=subject)


def update(user: User, media_id: UUID, body: schemas.UpdateMedia) -> Plan:
    """Plan a file's new name."""
    found = access.changeable(user, media_id)
    _check_version(found, body.base_version)
    name = {"name": body.name} if "name" in body.model_fields_set else {}
    return single("media.update", found.lane, name | _base(body.base_version), _id(media_id))


def revert(user: User, media_id: UUID, number: int, body: schemas.RevertMedia) -> Plan:
    """Plan a file's going back to one of its versions."""
    found = access.changeable(user, media_id)
    _check_version(found, body.base_version)
    if not MediaVersion.objects.filter(media=media_id, number=number).exists() and found.is_settled:
        raise errors.NotFound("This file has no such version.")
    return single("media.revert", found.lane, {"number": number} | _base(body.base_version), _id(media_id))


def delete(user: User, media_id: UUID, body: schemas.DeleteMedia, *, force: bool) -> Plan:
    """Plan a file's way to the trash."""
    found = access.changeable(user, media_id)
    if found.row and found.row.link_count and not force and found.is_settled:
        raise in_use(user, found.row)
    _check_version(found, body.base_version)
    payload = {"force": force, "known": True} | _base(body.base_version)
    return single("media.delete", found.lane, payload, _id(media_id))


def in_use(owner: User, row: Media) -> InUse:
    """Say what a file is used by."""
    links = link_table.first_of_file(row.pk, BLOCKERS_MAX)
    return InUse(links, row.link_count).with_blockers(selectors.blockers(owner.pk, links))


def restore(user: User, media_id: UUID, body: schemas.RestoreMedia) -> Plan:
    """Plan a file's way back from the trash."""
    found = access.changeable(user, media_id, also_in_trash=True)
    asked = body.restore_links
    wanted = asked if isinstance(asked, str) else [str(id_) for id_ in asked]
    if found.is_settled:
        _check_restorable(found.row, wanted)
    return single("media.restore", found.lane, {"restoreLinks": wanted}, _id(media_id))


def _check_restorable(row: Media | None, wanted: str | list[str]) -> None:
    if row is None or not row.deleted_at:
        raise errors.Conflict("This file is not in the trash.")
    if isinstance(wanted, list):
        known = {str(id_) for id_ in selectors.removed_links(row.pk).values_list("pk", flat=True)}
        unknown = [id_ for id_ in wanted if id_ not in known]
        if unknown:
            raise errors.NotFound("The deletion took no such links away.", linkIds=unknown[:50])


def purge(user: User, media_id: UUID) -> Plan:
    """Plan a file's end."""
    found = access.changeable(user, media_id, also_in_trash=True)
    if found.row and not found.row.deleted_at and found.is_settled:
        if found.row.link_count:
            raise in_use(user, found.row)
        raise errors.Conflict("Only what is in the trash can be purged. Delete it first.")
    return single("media.purge", found.lane, {"known": True}, _id(media_id))


def link(user: User, media: str, body: schemas.CreateLink, identity: Identity) -> Plan:
    """Plan a new use of a file. What the same operation creates may be named by its tempId."""
    media_id, target_id = resolve(user, identity, media), resolve(user, identity, body.target_id)
    course_id = access.linkable_target(user, body.target_type, target_id)
    found = access.changeable(user, media_id)
    if found.row and found.is_settled:
        is_known = found.row.current_version is not None
        check_fits_role(body.role, body.target_type, found.row.category, is_known=is_known)
        _check_free(found.row, body.target_type, target_id, body.role)
    link_id = ids.new_id()
    target = {"targetType": body.target_type, "targetId": str(target_id), "courseId": str(course_id)}
    position = {} if body.position is None else {"position": body.position}
    subject = {**_id(media_id), "linkId": str(link_id)}
    return single("media.link", found.lane, {**target, "role": body.role, **position}, subject, creates=link_id)


def _check_free(row: Media, target_type: str, target_id: UUID, role: str) -> None:
    at = MediaLink.objects.filter(**{target_type: target_id}, role=role)
    taken = at.first() if role in SINGLE_ROLES else at.filter(media=row).first()
    if taken:
        raise errors.Conflict("This place is taken.", linkId=str(taken.pk), mediaId=str(taken.media_id))
    if role == SOURCE and store.uploading([str(target_id)]):
        raise errors.Conflict(BEING_UPLOADED)


def unlink(user: User, link_id: UUID) -> Plan:
    """Plan the end of a link."""
    found = access.removable_link(user, link_id)
    lane = topics.user(found.owner_id)
    own = found.owner_id == user.pk
    subject = {"mediaId": found.media_id, "linkId": str(link_id)}
    topic = lane if own else topics.course(found.course_id)
    return single("media.unlink", lane, unlink_payload(found), subject, topic=topic)


def unlink_payload(found: access.FoundLink) -> dict[str, Any]:
    """Say what the end of a link that is there now is told with, should it be gone by then."""
    target = {"targetType": found.target_type, "targetId": found.target_id, "role": found.role}
    return {**target, "courseId": found.course_id, "known": True}


def _id(media_id: UUID) -> dict[str, str]:
    return {"mediaId": str(media_id)}


def _base(version: int | None) -> dict[str, int]:
    return {} if version is None else {"baseVersion": version}


def _check_version(found: Found, base: int | None) -> None:
    """Refuse what is stale already. With steps ahead of it, a version that is yet to come may be right."""
    if base is None or found.row is None or base == found.row.version:
        return
    if base < found.row.version or found.is_settled:
        raise errors.VersionConflict(found.row.version)
