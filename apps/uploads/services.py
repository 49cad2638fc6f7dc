"""What happens to uploads apart from their bytes: they are created, begun, aborted, retried, and fail."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from apps.accounts.models import User
from apps.core import clock, errors, ids
from apps.operations import lifecycle, open_steps, submit
from apps.operations import selectors as operations
from apps.operations.lanes import Outcome
from apps.operations.models import Step
from apps.operations.submit import Identity, NewStep
from apps.uploads import hints, purges, selectors, sizes, targets
from apps.uploads.errors import UploadAborted
from apps.uploads.models import OPEN, Protocol, Upload, UploadStatus
from apps.uploads.targets import Planned, Wanted

PARTIAL_PREFIX = "partial/"


@dataclass(frozen=True, slots=True)
class Announced:
    """
    What a client says of a file: a clean name, a type, a size (None: later) and a SHA-256 in hex, or nothing.

    ``metadata`` is the header of tus, to be given back as it came.
    """

    protocol: Protocol
    filename: str
    declared_type: str = ""
    size: int | None = None
    checksum: str = ""
    metadata: str = ""


# Creating


def create(
    user: User,
    identity: Identity,
    digest: str,
    file: Announced,
    target: Mapping[str, Any],
    parts_of: Sequence[Upload] = (),
) -> submit.Accepted:
    """
    Open an upload, as a step of an operation; the same request again gives the first answer again.

    ``parts_of``: complete partial uploads which it consists of.

    Raises:
        errors.CourseHubError: the target refuses it, or it is too large, or the user's quotas are.
    """
    return submit.once(user, identity, digest, lambda: _create(user, identity, digest, file, target, parts_of))


def _create(
    user: User,
    identity: Identity,
    digest: str,
    file: Announced,
    target: Mapping[str, Any],
    parts_of: Sequence[Upload],
) -> submit.Accepted:
    if not all(part.has_all_bytes and part.status == UploadStatus.UPLOADING for part in parts_of):
        raise errors.Conflict("The partial uploads are not complete.")
    sizes.check(file.size)
    adapter = targets.of_kind(target.get("kind"))
    upload_id = ids.new_id()
    planned = adapter.plan(user, identity, Wanted(target, file.filename))
    plan = _plan(adapter, planned, upload_id)
    with transaction.atomic():
        # One who asks for the same at this moment waits here, and then gets the same answer.
        sizes.count_alone(user.pk)
        accepted = submit.submit(user, identity, digest, plan)
        if accepted.data["uploadId"] == str(upload_id):
            sizes.make_room(user, file.size)
            _open(user, upload_id, file, planned, adapter, accepted.operation_key, parts_of)
    return accepted


def _plan(adapter: targets.Target, planned: Planned, upload_id: UUID) -> submit.Plan:
    named = {"uploadId": str(upload_id), **planned.ids}
    step = NewStep(
        action=adapter.action,
        lane=planned.lane,
        topic=planned.topic,
        payload={**planned.payload, "uploadId": str(upload_id)},
        subject=named,
        creates=planned.id if planned.creates else None,
        temp_id=planned.temp_id,
    )
    return submit.Plan(kind=adapter.action, steps=[step], data=named)


def _open(
    user: User,
    upload_id: UUID,
    file: Announced,
    planned: Planned,
    adapter: targets.Target,
    operation_key: str,
    parts_of: Sequence[Upload],
) -> None:
    is_whole = bool(parts_of)
    Upload.objects.create(
        id=upload_id,
        user=user,
        operation_key=operation_key,
        target_kind=adapter.kind,
        target_id=planned.id,
        target=dict(planned.ids),
        topic=planned.topic,
        lane=planned.lane,
        key=new_key(planned.prefix),
        parts_of=[str(part.pk) for part in parts_of] or None,
        offset=(file.size or 0) if is_whole else 0,
        status=UploadStatus.PROCESSING if is_whole else UploadStatus.UPLOADING,
        **_fields(file),
    )


def create_partial(user: User, file: Announced) -> Upload:
    """Open a partial upload, which belongs to nothing yet."""
    sizes.check(file.size)
    with transaction.atomic():
        sizes.count_alone(user.pk)
        sizes.make_room(user, file.size)
        return Upload.objects.create(
            user=user, key=new_key(f"{PARTIAL_PREFIX}{user.pk}/"), is_partial=True, **_fields(file)
        )


def _fields(file: Announced) -> dict[str, Any]:
    now = clock.now()
    return {
        "protocol": file.protocol,
        "filename": file.filename,
        "declared_type": file.declared_type,
        "declared_size": file.size,
        "declared_checksum": file.checksum,
        "metadata": file.metadata,
        "part_size": sizes.part_size(file.size),
        "created_at": now,
        "expires_at": now + idle_time(),
    }


def new_key(prefix: str) -> str:
    """Make an object's key: nothing in it comes from a client, and nobody can guess it."""
    return prefix + secrets.token_urlsafe(24)


def idle_time() -> timedelta:
    """Tell how long an upload is kept of which nothing is heard."""
    return timedelta(seconds=settings.UPLOAD_IDLE_SECONDS)


# Beginning, in the lane


def ended_before(steps: Collection[Step]) -> set[int]:
    """
    Lock the uploads of pending steps, and name the steps whose upload has ended, or is not there, already.

    For lanes' handlers, once what `targets.Target.hold` locks is locked.
    """
    wanted = {step.pk: UUID(step.payload["uploadId"]) for step in steps}
    there = {upload.pk for upload in _lock(list(wanted.values())) if upload.status in OPEN} if wanted else set()
    return {step_id for step_id, upload_id in wanted.items() if upload_id not in there}


def creating(steps: Collection[Step]) -> set[int]:
    """Name the pending steps that create what they upload to: what was created before is there, or was deleted."""
    created = operations.created(step.creates for step in steps if step.creates)
    return {step.pk for step in steps if step.creates and step.creates not in created}


def begin(steps: Collection[Step]) -> None:
    """Tie uploads to their steps, which their lane has just begun."""
    for step in steps:
        Upload.objects.filter(pk=step.payload["uploadId"]).update(step=step, operation_key=step.operation.key)
    ready = [UUID(step.payload["uploadId"]) for step in steps]
    ready = list(
        Upload.objects.filter(pk__in=ready, status=UploadStatus.PROCESSING).values_list("pk", flat=True)
        if ready
        else ()
    )
    if ready:
        transaction.on_commit(lambda: hints.send(ready))


def never_begun(failed: Mapping[UUID, Mapping[str, Any]], now: datetime) -> None:
    """End uploads whose steps failed in their lane; ``failed`` maps uploads to error objects."""
    for upload in _lock(list(failed)) if failed else ():
        if upload.status in OPEN:
            _close(upload, UploadStatus.ERROR, failed[upload.pk], now)


# Ending without a file


def abort(upload: Upload) -> None:
    """
    Abort an upload at its user's wish; what came of it is thrown away.

    Raises:
        errors.Conflict: it has ended otherwise.
    """
    if not fail(upload.pk, UploadAborted(), status=UploadStatus.ABORTED):
        upload.refresh_from_db()
        if upload.status != UploadStatus.ABORTED:
            raise errors.Conflict("This upload has ended.", status=upload.status)


@transaction.atomic
def fail(
    upload_id: UUID,
    error: errors.CourseHubError,
    *,
    status: str = UploadStatus.ERROR,
    keep_bytes: bool = False,
    token: UUID | None = None,
    unheard_since: datetime | None = None,
) -> bool:
    """
    End an open upload and its step with an error; False: it is not open any more, or not what was asked for.

    ``keep_bytes``: they are good, and may be processed again. ``token``: only while this lease is held.
    ``unheard_since``: only if it has expired by then.
    """
    now = clock.now()
    hold(Upload.objects.filter(pk=upload_id))
    found = _lock([upload_id])
    if not found or found[0].status not in OPEN:
        return False
    (upload,) = found
    is_heard_of = upload.expires_at > unheard_since if unheard_since else False
    if is_heard_of or (token and upload.lease_token != token):
        return False
    lifecycle.conclude(_fail([upload], error, status, now, keep_bytes=keep_bytes), now=now)
    return True


def fail_all_of(target_ids: Collection[UUID], error: errors.CourseHubError, now: datetime) -> list[Outcome]:
    """
    End the open uploads of targets that are going, in the caller's transaction, which concludes the outcomes.

    What `targets.Target.hold` locks is locked by the caller.
    """
    return _fail_open(Upload.objects.filter(target_id__in=target_ids), error, now)


def fail_all_by(user_ids: Collection[UUID], topic: str, error: errors.CourseHubError, now: datetime) -> list[Outcome]:
    """End the open uploads that users may no longer go on with, those told at a topic; otherwise as `fail_all_of`."""
    return _fail_open(Upload.objects.filter(user__in=user_ids, topic=topic), error, now)


def _fail_open(uploads: "QuerySet[Upload]", error: errors.CourseHubError, now: datetime) -> list[Outcome]:
    going = list(uploads.filter(status__in=OPEN).values_list("pk", flat=True))
    return _fail([upload for upload in _lock(going) if upload.status in OPEN], error, UploadStatus.ERROR, now)


def _fail(
    uploads: Sequence[Upload], error: errors.CourseHubError, status: str, now: datetime, *, keep_bytes: bool = False
) -> list[Outcome]:
    """End locked, open uploads; what they are about is locked. Their steps are locked here."""
    for upload in uploads:
        _close(upload, status, error.as_dict(), now, keep_bytes=keep_bytes)
    by_step = {upload.step_id: upload for upload in uploads}
    steps = open_steps.lock(step_id for step_id in by_step if step_id)
    return [targets.of_kind(by_step[step.pk].target_kind).failed(by_step[step.pk], step, error, now) for step in steps]


def _close(upload: Upload, status: str, error: Mapping[str, Any], now: datetime, *, keep_bytes: bool = False) -> None:
    upload.status, upload.error, upload.finished_at = status, dict(error), now
    upload.attempt += 1
    upload.lease_token = upload.lease_expires_at = upload.asked_at = None
    if keep_bytes:
        upload.expires_at = now + idle_time()
    else:
        throw_away(upload, status)
    upload.save()


def throw_away(upload: Upload, reason: str) -> None:
    """Have storage get rid of all that came of a locked upload; the caller saves it."""
    if upload.storage_upload_id:
        purges.purge(upload.key, storage_upload_id=upload.storage_upload_id, reason=reason)
        purges.purge(upload.key, reason=reason)
    if upload.tail_key:
        purges.purge(upload.tail_key, reason=reason)
    upload.parts.all().delete()
    upload.offset = upload.tail_size = upload.reported = 0
    upload.storage_upload_id = upload.tail_key = upload.checksum = ""


@transaction.atomic
def forget_bytes(upload_id: UUID) -> None:
    """Throw away what is kept of a failed upload."""
    for upload in _lock([upload_id]):
        if upload.status == UploadStatus.ERROR:
            throw_away(upload, "expired")
            upload.save()


def hold(uploads: "Any") -> None:
    """Lock what uploads are about; the first lock of any end."""
    found = [upload for upload in uploads if upload.target_kind]
    for kind in sorted({upload.target_kind for upload in found}):
        targets.of_kind(kind).hold([upload for upload in found if upload.target_kind == kind])


def _lock(upload_ids: Collection[UUID]) -> list[Upload]:
    return list(Upload.objects.select_for_update(no_key=True).filter(pk__in=upload_ids).order_by("id"))


# Again


class StepOwner:
    """Ends the steps of uploads when their operation is cancelled, and makes them ready for another try."""

    def cancelled(self, steps: Sequence[Step], now: datetime) -> list[Outcome]:
        from apps.operations.errors import Cancelled

        of_steps = Upload.objects.filter(pk__in=[step.payload["uploadId"] for step in steps], status__in=OPEN)
        hold(of_steps)
        uploads = [upload for upload in _lock(list(of_steps.values_list("pk", flat=True))) if upload.status in OPEN]
        return _fail(uploads, Cancelled(), UploadStatus.ABORTED, now)

    def retried(self, steps: Sequence[Step], now: datetime) -> list[Step]:
        for user_id in sorted({step.operation.user_id for step in steps}):
            sizes.count_alone(user_id)
        uploads = {upload.pk: upload for upload in _lock([UUID(step.payload["uploadId"]) for step in steps])}
        return [step for step in steps if not _reopens(uploads.get(UUID(step.payload["uploadId"])), now)]


def retry(upload: Upload, user: User, identity: Identity, digest: str) -> submit.Accepted:
    """
    Try a failed upload again, as a new operation: what came of it is processed again, what is missing may come.

    Raises:
        errors.Conflict: it has not failed.
        errors.CourseHubError: the user may not upload there any more.
    """

    def take() -> submit.Accepted:
        if upload.target_kind:
            targets.of_kind(upload.target_kind).check(user, upload)
        step = upload.step or _step_of(upload)
        if step is None:
            raise errors.Conflict("This upload has not failed.", status=upload.status)
        data = {**step.subject, "retryOf": upload.operation_key}
        plan = submit.Plan(kind=step.action, steps=[submit.again(step)], data=data)
        with transaction.atomic():
            sizes.count_alone(upload.user_id)
            for locked in _lock([upload.pk]):
                _reopen(locked, clock.now())
            return submit.submit(user, identity, digest, plan)

    return submit.once(user, identity, digest, take)


def _step_of(upload: Upload) -> Step | None:
    """Find the step of an upload that its lane never began."""
    steps = Step.objects.filter(operation__user=upload.user_id, operation__key=upload.operation_key)
    return steps.filter(payload__uploadId=str(upload.pk)).order_by("-id").first()


def _reopens(upload: Upload | None, now: datetime) -> bool:
    """Open a locked upload again, if it is there and that can be."""
    try:
        if upload:
            _reopen(upload, now)
    except errors.Conflict:
        return False
    return upload is not None


def _reopen(upload: Upload, now: datetime) -> None:
    """
    Open a locked upload again, for whose user the caller counts alone.

    Raises:
        errors.Conflict: it has not failed, or its step has yet to fail, or what it was for or made of is gone.
        QuotaExceeded: there is no room for it.
    """
    if upload.status not in (UploadStatus.ERROR, UploadStatus.ABORTED):
        raise errors.Conflict("This upload has not failed.", status=upload.status)
    if selectors.is_pending(upload):
        # Two steps would begin one upload, and only one of them would end with it.
        raise errors.Conflict("This upload has ended, but its step waits for its turn; try again then.")
    if _was_deleted(upload):
        raise errors.Conflict("What this upload was for has been deleted.")
    if upload.parts_of and not upload.offset:
        raise errors.Conflict("What this upload was made of is gone; upload it again.")
    sizes.make_room(upload.user, upload.declared_size, besides=upload.pk)
    if not upload.offset:
        upload.key = new_key(upload.key.rpartition("/")[0] + "/")
    upload.status = UploadStatus.PROCESSING if upload.has_all_bytes else UploadStatus.UPLOADING
    upload.step = upload.error = upload.finished_at = upload.retry_at = None
    upload.tries = upload.retries = 0
    upload.expires_at = now + idle_time()
    upload.save()


def _was_deleted(upload: Upload) -> bool:
    """Say whether what an upload is for has been there, and is not any more."""
    is_there = targets.of_kind(upload.target_kind).is_there(upload)
    return not is_there and bool(upload.target_id and operations.created([upload.target_id]))
