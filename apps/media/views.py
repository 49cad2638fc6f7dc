"""The media manager over REST: parse, call one plan or selector, render."""

from uuid import UUID

from django.http import JsonResponse
from rest_framework.request import Request

from apps.accounts.authentication import user_of
from apps.core import documentation, errors
from apps.core.api import ApiView, answer, json_body
from apps.core.pagination import Page, paginate
from apps.core.schemas import parse
from apps.courses.plans import as_id
from apps.courses.schemas import PlaybackData
from apps.media import access, bulk, impact, plans, schemas, selectors, show
from apps.operations import submit
from apps.operations.api import MutationView, accept, identity_of, mutation
from apps.operations.schemas import Mutation
from apps.uploads import names, playback, services
from apps.uploads.models import Protocol
from apps.uploads.services import Announced
from apps.uploads.show import path as upload_path

LINKS_SHOWN = 50


class LibraryView(ApiView):
    @documentation.answers(
        None, answer=schemas.LibraryPage, query=schemas.LibraryQuery, can_fail=(400,), name="media_list"
    )
    def get(self, request: Request) -> JsonResponse:
        """List or search one's own files, newest first unless ``ordering`` says otherwise."""
        query = self.query(schemas.LibraryQuery)
        files, cursor = selectors.library(user_of(request), query)
        current = selectors.current_versions(files)
        totals = selectors.totals(user_of(request), trashed=query.trashed)
        return answer([show.media(file, current.get(file.pk)) for file in files], next=cursor, totals=totals)


class MediaView(MutationView):
    @documentation.answers(schemas.MediaDetailData, can_fail=(403, 404))
    def get(self, request: Request, media_id: UUID) -> JsonResponse:
        """Read a file: what it is, its versions, and where it is used."""
        media = access.readable(user_of(request), media_id)
        versions = list(media.versions.select_related("file").order_by("number"))
        current = next((row for row in versions if row.number == media.current_version), None)
        links = selectors.links_of(user_of(request), media).order_by("id")[:LINKS_SHOWN]
        shown = {
            "versions": [show.version(row, media.current_version) for row in versions],
            "links": [show.link(row) for row in links],
        }
        return answer(show.media(media, current) | shown)

    @mutation(schemas.MediaIdData, body=schemas.UpdateMedia, can_fail=(403, 404, 410))
    def patch(self, request: Request, media_id: UUID) -> JsonResponse:
        """Rename a file."""
        return self.mutate(request, schemas.UpdateMedia, lambda body, _: plans.update(user_of(request), media_id, body))

    @mutation(schemas.MediaIdData, body=schemas.DeleteMedia, query=schemas.DeleteQuery, can_fail=(403, 404, 410))
    def delete(self, request: Request, media_id: UUID) -> JsonResponse:
        """Move a file to the trash; one that is linked only by ``force``, and its links go with it."""
        force = self.query(schemas.DeleteQuery).force
        return self.mutate(
            request, schemas.DeleteMedia, lambda body, _: plans.delete(user_of(request), media_id, body, force=force)
        )


class ImpactView(ApiView):
    @documentation.answers(schemas.ImpactData, can_fail=(403, 404, 410))
    def get(self, request: Request, media_id: UUID) -> JsonResponse:
        """Say what deleting a file would do."""
        return answer(impact.of_one(access.readable(user_of(request), media_id)))


class RestoreView(MutationView):
    @mutation(schemas.MediaIdData, body=schemas.RestoreMedia, can_fail=(403, 404))
    def post(self, request: Request, media_id: UUID) -> JsonResponse:
        """Put a file back from the trash, and those of its links that are asked for, as far as they can be."""
        return self.mutate(
            request, schemas.RestoreMedia, lambda body, _: plans.restore(user_of(request), media_id, body)
        )


class PurgeView(MutationView):
    @mutation(schemas.MediaIdData, can_fail=(403, 404))
    def post(self, request: Request, media_id: UUID) -> JsonResponse:
        """Delete a file that is in the trash for good, with all its versions."""
        return self.mutate(request, Mutation, lambda *_: plans.purge(user_of(request), media_id))


class PlaybackView(ApiView):
    @documentation.answers(PlaybackData, can_fail=(404, 409), name="media_playback")
    def get(self, request: Request, media_id: UUID) -> JsonResponse:
        """Get a URL from which one's own file, or one in a course of one's, can be played for as long as it lasts."""
        media = access.playable(user_of(request), media_id)
        current = selectors.current_versions([media]).get(media_id)
        if current is None:
            raise errors.Conflict("This file has not arrived yet.", status=media.status)
        return answer(playback.of(current.file))


class ReplaceView(MutationView):
    @mutation(schemas.ReplaceData, body=schemas.ReplaceMedia, can_fail=(403, 404, 410, 429))
    def post(self, request: Request, media_id: UUID) -> JsonResponse:
        """Open an upload that is to become a file's new version; the bytes go to its ``url``."""
        raw = json_body(request)
        body = parse(schemas.ReplaceMedia, raw)
        identity, user = identity_of(request, body), user_of(request)
        digest = submit.fingerprint(method="POST", path=request.path, body=raw, expect=identity.expect)
        file = Announced(
            protocol=Protocol(body.protocol),
            filename=names.clean(body.filename),
            declared_type=names.media_type(body.type),
            size=body.size,
            checksum=body.checksum or "",
        )
        target = {"kind": "media", "mediaId": str(media_id)}
        accepted = services.create(user, identity, digest, file, target)
        url = upload_path(body.protocol, accepted.data["uploadId"])
        response = accept(submit.Accepted(accepted.operation_key, {**accepted.data, "url": url}))
        response.headers["Location"] = url
        return response


class VersionsView(ApiView):
    @documentation.answers(schemas.VersionData, page=True, query=Page, can_fail=(400, 403, 404), name="media_versions")
    def get(self, request: Request, media_id: UUID) -> JsonResponse:
        """List a file's versions, newest first."""
        media = access.readable(user_of(request), media_id)
        rows = media.versions.select_related("file")
        return paginate(rows, self.query(Page), show=lambda row: show.version(row, media.current_version))


class RevertView(MutationView):
    @mutation(schemas.MediaIdData, body=schemas.RevertMedia, can_fail=(403, 404, 410))
    def post(self, request: Request, media_id: UUID, number: int) -> JsonResponse:
        """Go back (or forth) to a version of a file."""
        return self.mutate(
            request, schemas.RevertMedia, lambda body, _: plans.revert(user_of(request), media_id, number, body)
        )


class MediaLinksView(MutationView):
    @documentation.answers(schemas.LinkData, page=True, query=Page, can_fail=(400, 403, 404), name="links_of_media")
    def get(self, request: Request, media_id: str) -> JsonResponse:
        """List where a file is used, oldest use first."""
        user = user_of(request)
        rows = selectors.links_of(user, access.readable(user, as_id(media_id)))
        return paginate(rows, self.query(Page), show=show.link, newest_first=False)

    @mutation(schemas.LinkIdData, body=schemas.CreateLink, can_fail=(403, 404, 410))
    def post(self, request: Request, media_id: str) -> JsonResponse:
        """Link a file to a course, a chapter or a video."""
        return self.mutate(
            request, schemas.CreateLink, lambda body, named: plans.link(user_of(request), media_id, body, named)
        )


class LinksView(ApiView):
    @documentation.answers(
        schemas.SharedLinkData, page=True, query=schemas.TargetQuery, can_fail=(400, 404), name="links_of_target"
    )
    def get(self, request: Request) -> JsonResponse:
        """List the files that are linked to a course, chapter or video, for the course's members."""
        query, user = self.query(schemas.TargetQuery), user_of(request)
        access.check_target_readable(user, query.target_type, query.target_id)
        rows = selectors.links_at(user, query.target_type, query.target_id, within=query.within)
        return paginate(rows, query, show=show.shared_link, newest_first=False)


class LinkView(MutationView):
    @mutation(schemas.LinkIdData, can_fail=(403, 404, 410))
    def delete(self, request: Request, link_id: UUID) -> JsonResponse:
        """Remove a link: of one's own file, or in a course that one may edit."""
        return self.mutate(request, Mutation, lambda *_: plans.unlink(user_of(request), link_id))


class HistoryView(ApiView):
    @documentation.answers(
        schemas.HistoryData, page=True, query=schemas.HistoryQuery, can_fail=(400,), name="library_history"
    )
    def get(self, request: Request) -> JsonResponse:
        """List what was done to one's files and their links, newest first; also to those that are gone for good."""
        query = self.query(schemas.HistoryQuery)
        alike = selectors.history_is_alike_in(query)
        return paginate(selectors.history(user_of(request), query), query, show=show.history, alike=alike)


class MediaHistoryView(ApiView):
    @documentation.answers(
        schemas.HistoryData, page=True, query=schemas.HistoryQuery, can_fail=(400, 404), name="media_history"
    )
    def get(self, request: Request, media_id: UUID) -> JsonResponse:
        """List what was done to one file, newest first; also when it is gone for good."""
        query = self.query(schemas.HistoryQuery)
        selectors.check_known(user_of(request), media_id)
        return paginate(selectors.history(user_of(request), query, media_id), query, show=show.history)


class BulkDeleteView(MutationView):
    @mutation(schemas.BulkData, body=schemas.BulkDelete, also={200: schemas.BulkImpactData})
    def post(self, request: Request) -> JsonResponse:
        """Move up to 10,000 files to the trash; with ``dryRun`` only say (200) what would happen."""
        body = parse(schemas.BulkDelete, json_body(request))
        if body.dry_run:
            return answer(impact.of_many(user_of(request), body.media_ids, force=body.force))
        return self.mutate(request, schemas.BulkDelete, lambda body, named: bulk.delete(user_of(request), body, named))


class BulkRestoreView(MutationView):
    @mutation(schemas.BulkData, body=schemas.BulkRestore)
    def post(self, request: Request) -> JsonResponse:
        """Put up to 10,000 files back from the trash."""
        return self.mutate(
            request, schemas.BulkRestore, lambda body, named: bulk.restore(user_of(request), body, named)
        )


class BulkPurgeView(MutationView):
    @mutation(schemas.BulkData, body=schemas.BulkFiles)
    def post(self, request: Request) -> JsonResponse:
        """Delete up to 10,000 files that are in the trash for good."""
        return self.mutate(request, schemas.BulkFiles, lambda body, named: bulk.purge(user_of(request), body, named))


class BulkLinkView(MutationView):
    @mutation(schemas.BulkData, body=schemas.BulkLink, can_fail=(403, 404, 410))
    def post(self, request: Request) -> JsonResponse:
        """Link up to 10,000 files to one course, chapter or video."""
        return self.mutate(request, schemas.BulkLink, lambda body, named: bulk.link(user_of(request), body, named))


class BulkUnlinkView(MutationView):
    @mutation(schemas.BulkData, body=schemas.BulkUnlink)
    def post(self, request: Request) -> JsonResponse:
        """Remove up to 10,000 links of one's own files."""
        return self.mutate(request, schemas.BulkUnlink, lambda body, named: bulk.unlink(user_of(request), body, named))
