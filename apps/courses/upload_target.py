"""Videos as targets of uploads: what is theirs alone; the rest is in `apps.uploads`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from apps.accounts.models import User
from apps.core import errors, ids
from apps.core.schemas import parse
from apps.courses import access, outline, plans, schemas, sources
from apps.courses.models import Course, Video, VideoStatus
from apps.operations import selectors as operations
from apps.operations import submit
from apps.operations.lanes import Outcome
from apps.operations.models import Step
from apps.operations.submit import Identity
from apps.outbox.emit import Draft
from apps.uploads import names, purges, selectors, show
from apps.uploads.models import StoredFile, Upload
from apps.uploads.targets import Planned, Wanted
from broadcast.contracts import events, topics


class VideoTarget:
    """Uploads into a course: `apps.courses.outline` makes the video when one begins."""

    kind = "video"
    action = outline.UPLOAD
    progress_event = events.UPLOAD_PROGRESS
    body = schemas.UploadTarget

    def allowed(self) -> frozenset[str]:
        return frozenset(settings.VIDEO_CATEGORIES)

    def plan(self, user: User, identity: Identity, wanted: Wanted) -> Planned:
        body = parse(schemas.UploadTarget, wanted.target)
        video_id = _present(user, identity, body)
        if video_id is None and body.chapter_id is None:
            raise errors.Invalid(fields={"target": ["Name a videoId, or a chapterId for a new video."]})
        id_ = video_id or ids.new_id()
        chapter_id = None if video_id or not body.chapter_id else plans.resolve(user, identity, body.chapter_id)
        found: access.Found[Any] = (
            access.changeable_chapter(user, chapter_id, self.action)
            if chapter_id
            else access.changeable_video(user, id_, self.action)
        )
        if sources.of_videos([id_]) and not any(map(operations.has_pending, (found.lane, topics.user(user.pk)))):
            raise errors.Conflict(outline.FROM_ELSEWHERE)
        place = {"chapterId": str(chapter_id), **_position(body)} if chapter_id else {}
        named = {"videoId": str(id_), **({"tempId": body.temp_id} if body.temp_id else {})}
        title = body.title or names.stem(wanted.filename)
        file = {"title": title, "filename": wanted.filename, "creates": video_id is None}
        return Planned(
            id=id_,
            ids=named,
            lane=found.lane,
            topic=found.lane,
            payload={"courseId": str(found.course_id), **place, **file, **named},
            prefix=f"courses/{found.course_id}/",
            creates=video_id is None,
            temp_id=(body.temp_id or "") if video_id is None else "",
        )

    def check(self, user: User, upload: Upload) -> None:
        access.changeable_course(user, UUID(topics.parse(upload.topic).id), self.action)

    def is_there(self, upload: Upload) -> bool:
        return _video(upload) is not None

    def hold(self, uploads: Sequence[Upload]) -> None:
        courses = {upload.topic.partition(":")[2] for upload in uploads}
        list(Course.objects.select_for_update(no_key=True).filter(pk__in=courses).order_by("id").values_list("pk"))

    def completed(self, upload: Upload, step: Step, file: StoredFile, now: datetime) -> Outcome:
        video = _video(upload)
        if video is None or video.course.deleted_at:
            return Outcome(step, upload.topic, error=errors.Gone("The video was deleted.").as_dict())
        if step.payload["creates"] and video.filename != upload.filename:
            # Someone gave it another name meanwhile.
            file.filename = video.filename
            file.save(update_fields=["filename"])
        replaced, video.file = video.file, file
        video.status, video.filename, video.updated_at = VideoStatus.COMPLETE, file.filename, now
        video.save(update_fields=["file", "status", "filename", "updated_at"])
        if replaced:
            purges.discard([replaced], reason="replaced", is_played=True)
        data = {**step.subject, "status": video.status, "finalData": show.final_data(file)}
        told = {**data, "finalData": show.final_data(file, in_event=True)}
        draft = Draft(events.UPLOAD_COMPLETED, upload.topic, step.operation.key, told)
        return Outcome(step, upload.topic, data=data, drafts=[draft])

    def failed(self, upload: Upload, step: Step, error: errors.CourseHubError, now: datetime) -> Outcome:
        video = _video(upload)
        if video is None:
            return Outcome(step, upload.topic, error=error.as_dict())
        ended = VideoStatus.COMPLETE if video.file_id else VideoStatus.ERROR
        video.status = VideoStatus.UPLOADING if selectors.has_another(upload) else ended
        video.updated_at = now
        video.save(update_fields=["status", "updated_at"])
        return Outcome(step, upload.topic, data={"status": video.status}, error=error.as_dict())


def _present(user: User, identity: Identity, body: schemas.UploadTarget) -> UUID | None:
    """Find the video that an upload is to go into; None: a new one."""
    if body.video_id is not None:
        return plans.resolve(user, identity, body.video_id)
    known = submit.temp_ids(user, identity.operation_key, {body.temp_id} if body.temp_id else set())
    return known.get(body.temp_id or "")


def _position(body: schemas.UploadTarget) -> dict[str, Any]:
    return {} if body.position is None else {"position": body.position}


def _video(upload: Upload) -> Video | None:
    return Video.objects.select_related("course", "file").filter(pk=upload.target["videoId"]).first()
