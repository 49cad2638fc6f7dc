"""Media files as targets of uploads: what is theirs alone; the rest is in `apps.uploads`."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models import Max

from apps.accounts.models import User
from apps.core import errors, ids
from apps.core.schemas import parse
from apps.media import access, rules, schemas, sources, store
from apps.media import links as link_table
from apps.media.library import SINGLE_ROLES
from apps.media.models import Media, MediaVersion, Status
from apps.operations import submit
from apps.operations.lanes import Outcome
from apps.operations.models import Step
from apps.operations.submit import Identity
from apps.outbox.emit import Draft
from apps.uploads import selectors, show
from apps.uploads.models import StoredFile, Upload
from apps.uploads.targets import Planned, Wanted
from broadcast.contracts import events, topics


class MediaTarget:
    """Uploads into a library: `apps.media.rules` makes the file when one begins."""

    kind = "media"
    action = "media.upload"
    progress_event = events.MEDIA_UPLOAD_PROGRESS
    body = schemas.UploadTarget

    def allowed(self) -> frozenset[str]:
        return frozenset(settings.MEDIA_CATEGORIES)

    def plan(self, user: User, identity: Identity, wanted: Wanted) -> Planned:
        body = parse(schemas.UploadTarget, wanted.target)
        media_id = body.media_id or _of_temp_id(user, identity, body.temp_id)
        id_ = media_id or ids.new_id()
        if media_id:
            access.changeable(user, media_id)
        lane = topics.user(user.pk)
        named = {"mediaId": str(id_), **({"tempId": body.temp_id} if body.temp_id else {})}
        payload = {**named, "name": body.name or wanted.filename or "file", "creates": media_id is None}
        return Planned(
            id=id_,
            ids=named,
            lane=lane,
            topic=lane,
            payload=payload,
            prefix=f"media/{user.pk}/",
            creates=media_id is None,
            temp_id=(body.temp_id or "") if media_id is None else "",
        )

    def check(self, user: User, upload: Upload) -> None:
        """A library is its owner's alone, and so are the uploads into it: nobody loses the right to them."""

    def is_there(self, upload: Upload) -> bool:
        return _file(upload) is not None

    def hold(self, uploads: Sequence[Upload]) -> None:
        store.lock({str(upload.target_id) for upload in uploads if upload.target_id})

    def completed(self, upload: Upload, step: Step, file: StoredFile, now: datetime) -> Outcome:
        media = _file(upload)
        if media is None:
            return Outcome(step, upload.topic, error=errors.Gone("The file was deleted.").as_dict())
        try:
            rules.check_fits(link_table.of_files({str(media.pk)}, only_roles=tuple(SINGLE_ROLES)), file.category)
        except errors.CourseHubError as error:
            return self.failed(upload, step, error, now)
        versions = _add_version(media, upload, file, now)
        _record(media, upload, step, versions["currentVersion"], now)
        found = {"category": file.category, "finalData": show.final_data(file)}
        data = {**step.subject, "status": Status.COMPLETE, **versions, **found}
        told = {**data, "finalData": show.final_data(file, in_event=True)}
        draft = Draft(events.MEDIA_UPLOAD_COMPLETED, upload.topic, step.operation.key, told)
        fed = sources.tell(dict.fromkeys(sources.fed_by(media.pk), step.operation.key), now)
        return Outcome(step, upload.topic, data=data, drafts=[draft, *(draft for _, draft in fed)])

    def failed(self, upload: Upload, step: Step, error: errors.CourseHubError, now: datetime) -> Outcome:
        media = _file(upload)
        if media is None:
            return Outcome(step, upload.topic, error=error.as_dict())
        ended = Status.COMPLETE if media.current_version else Status.ERROR
        status = Status.UPLOADING if selectors.has_another(upload) else ended
        Media.objects.filter(pk=media.pk).update(status=status, updated_at=now)
        return Outcome(step, upload.topic, data={"status": status}, error=error.as_dict())


def _file(upload: Upload) -> Media | None:
    assert upload.target_id
    return Media.objects.filter(pk=upload.target_id).first()


def _of_temp_id(user: User, identity: Identity, temp_id: str | None) -> UUID | None:
    known = submit.temp_ids(user, identity.operation_key, {temp_id} if temp_id else set())
    return known.get(temp_id or "")


def _add_version(media: Media, upload: Upload, file: StoredFile, now: datetime) -> dict[str, int]:
    """Make a stored file the current version of a locked file; returns what is told of that."""
    latest: int | None = media.versions.aggregate(latest=Max("number"))["latest"]
    number = (latest or 0) + 1
    at = {"created_by": upload.user_id, "created_at": now}
    MediaVersion.objects.create(media=media, number=number, file=file, **at)
    facts = {"category": file.category, "content_type": file.content_type, "size": file.size}
    version = media.version if latest is None else media.version + 1
    Media.objects.filter(pk=media.pk).update(
        status=Status.COMPLETE, current_version=number, version=version, updated_at=now, **facts
    )
    return {"currentVersion": number, "version": version}


def _record(media: Media, upload: Upload, step: Step, number: int, now: datetime) -> None:
    store.record(
        [
            store.entry(
                owner_id=str(media.owner_id),
                media_id=str(media.pk),
                media_name=media.name,
                action="media.version",
                actor_id=str(upload.user_id),
                operation_id=step.operation.key,
                details={"number": number, "uploadId": str(upload.pk)},
                now=now,
            )
        ]
    )
