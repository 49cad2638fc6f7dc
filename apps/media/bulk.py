"""
Requests about many files: one operation with a step for each, and its progress.

The steps are ordinary ones of the library's lane, run in small batches; so order, cancelling, retrying and results are
those of any operation.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from apps.accounts.models import User
from apps.core import ids, sql
from apps.courses.plans import resolve
from apps.media import access, plans, schemas
from apps.media.models import Media
from apps.operations import selectors as operations
from apps.operations import submit
from apps.operations.lanes import Outcome
from apps.operations.models import Step
from apps.operations.submit import Identity, NewStep, Plan
from apps.outbox import progress
from apps.outbox.emit import Draft
from broadcast.contracts import events, topics

PROGRESS = {
    "media.bulk-delete": events.MEDIA_BULK_DELETE_PROGRESS,
    "media.bulk-restore": events.MEDIA_BULK_RESTORE_PROGRESS,
    "media.bulk-purge": events.MEDIA_BULK_PURGE_PROGRESS,
    "media.bulk-link": events.MEDIA_BULK_LINK_PROGRESS,
    "media.bulk-unlink": events.MEDIA_BULK_UNLINK_PROGRESS,
}
"""The kinds of bulk operations, and how the progress of each is called."""


def register() -> None:
    """Have every operation of these kinds end with a ``batch-operation-complete``, retries too."""
    submit.BATCH_KINDS.update(PROGRESS)


# Plans


def delete(user: User, body: schemas.BulkDelete, identity: Identity) -> Plan:
    """Plan the way of files to the trash."""
    return _of_files("delete", user, body.media_ids, identity, {"force": body.force})


def restore(user: User, body: schemas.BulkRestore, identity: Identity) -> Plan:
    """Plan the way of files back from the trash."""
    return _of_files("restore", user, body.media_ids, identity, {"restoreLinks": body.restore_links})


def purge(user: User, body: schemas.BulkFiles, identity: Identity) -> Plan:
    """Plan the end of files."""
    return _of_files("purge", user, body.media_ids, identity, {})


def link(user: User, body: schemas.BulkLink, identity: Identity) -> Plan:
    """Plan the use of files at one target."""
    target_id = resolve(user, identity, body.target_id)
    course_id = access.linkable_target(user, body.target_type, target_id)
    target = {"targetType": body.target_type, "targetId": str(target_id), "courseId": str(course_id)}
    new = [ids.new_id() for _ in body.media_ids]
    named = [{"mediaId": str(id_), "linkId": str(link_id)} for id_, link_id in zip(body.media_ids, new, strict=True)]
    return _plan("link", user, identity, [{**target, "role": body.role} for _ in named], named, new)


def unlink(user: User, body: schemas.BulkUnlink, identity: Identity) -> Plan:
    """Plan the end of links of the user's own files."""
    found = access.own_links(user, body.link_ids)
    payloads, named = [], []
    for id_ in body.link_ids:
        link = found.get(id_)
        payloads.append(plans.unlink_payload(link) if link else _NO_LINK)
        named.append({"mediaId": link.media_id if link else str(id_), "linkId": str(id_)})
    return _plan("unlink", user, identity, payloads, named)


_NO_LINK = {"targetType": "course", "targetId": str(UUID(int=0)), "courseId": str(UUID(int=0)), "role": ""}


def _of_files(verb: str, user: User, wanted: Sequence[UUID], identity: Identity, payload: Mapping[str, Any]) -> Plan:
    known = _known(user, wanted)
    payloads = [{**payload, "known": id_ in known} for id_ in wanted]
    return _plan(verb, user, identity, payloads, [{"mediaId": str(id_)} for id_ in wanted])


def _known(user: User, wanted: Collection[UUID]) -> set[UUID]:
    """Tell which files are there, or about to be: only those may be found gone later."""
    coming = operations.pending_creations(topics.user(user.pk), "mediaId", wanted)
    return coming | set(Media.objects.filter(owner=user, pk__in=wanted).values_list("pk", flat=True))


def _plan(
    verb: str,
    user: User,
    identity: Identity,
    payloads: Sequence[Mapping[str, Any]],
    named: Sequence[Mapping[str, str]],
    creates: Sequence[UUID | None] = (),
) -> Plan:
    lane = topics.user(user.pk)
    steps = [
        NewStep(f"media.{verb}", lane, lane, {**payload, **ids_}, ids_, new, key=f"{identity.request_key}.{index}")
        for index, (payload, ids_, new) in enumerate(zip(payloads, named, creates or [None] * len(named), strict=True))
    ]
    return Plan(f"media.bulk-{verb}", steps, {"total": len(steps)}, is_batch=True)


# Progress


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A bulk operation as it was before these steps. ``key``: the client's name of it."""

    id: UUID
    key: str
    kind: str
    user_id: UUID
    expected: int
    succeeded: int
    failed: int

    def figure(self, done: int = 0, failed: int = 0) -> Draft:
        """Say how far it is when so many more steps have ended, so many of them badly."""
        ended = self.succeeded + self.failed + done
        data = {"operationId": self.key, "done": ended, "total": self.expected, "failed": self.failed + failed}
        return Draft(PROGRESS[self.kind], topics.user(self.user_id), self.key, data)


def begin(steps: Sequence[Step]) -> list[UnderWay]:
    """Find the bulk operations among these steps, and have it told of each that it has begun."""
    rows = sql.rows(_BULK, [list(PROGRESS), list({step.operation_id for step in steps})])
    found = [UnderWay(*row) for row in rows]
    for operation in found:
        if not operation.succeeded + operation.failed:
            progress.tell(str(operation.id), operation.figure())
    return found


def tell_progress(under_way: Sequence[UnderWay], outcomes: Sequence[Outcome]) -> None:
    """
    Tell their progress while the lane is still ours: after that another process may go on, and tell what comes next.

    The last figure of those that end with these steps is waited for: nothing comes after the end.
    """
    for operation in under_way:
        ended = [outcome for outcome in outcomes if outcome.step.operation_id == operation.id]
        figure = operation.figure(len(ended), sum(outcome.error is not None for outcome in ended))
        tell = progress.finish if figure.data["done"] >= operation.expected else progress.tell
        tell(str(operation.id), figure)


_BULK = """
    SELECT id, key, kind, user_id, expected, succeeded, failed FROM operations_operation
    WHERE kind = ANY(%b) AND id = ANY(%b)
"""
