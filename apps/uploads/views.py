"""Uploads over REST, whichever way their bytes come."""

from uuid import UUID

from django.http import JsonResponse
from rest_framework.request import Request

from apps.accounts.authentication import user_of
from apps.core import documentation
from apps.core.api import ApiView, answer, json_body
from apps.core.pagination import paginate
from apps.core.schemas import parse
from apps.operations import submit
from apps.operations.api import MutationView, accept, identity_of, mutation
from apps.operations.schemas import Mutation
from apps.uploads import schemas, selectors, services, show


class UploadsView(ApiView):
    """A user's uploads."""

    @documentation.answers(
        schemas.UploadData, page=True, query=schemas.UploadPage, can_fail=(400,), name="uploads_list"
    )
    def get(self, request: Request) -> JsonResponse:
        """List one's own uploads, newest first."""
        page = self.query(schemas.UploadPage)
        return paginate(selectors.whole(user_of(request), resumable=page.resumable), page, show=show.upload)


class UploadView(ApiView):
    """One upload."""

    @documentation.answers(schemas.UploadData, can_fail=(404,))
    def get(self, request: Request, upload_id: UUID) -> JsonResponse:
        """Read an upload."""
        return answer(show.upload(selectors.upload(user_of(request), upload_id)))

    @documentation.answers(
        schemas.UploadIdData,
        answer=documentation.accepted(schemas.UploadIdData),
        body=Mutation,
        status=202,
        can_fail=(400, 404, 409, 413, 415),
    )
    def delete(self, request: Request, upload_id: UUID) -> JsonResponse:
        """Abort an upload; its step fails."""
        parse(Mutation, json_body(request))
        upload = selectors.upload(user_of(request), upload_id)
        services.abort(upload)
        return accept(submit.Accepted(upload.operation_key, {"uploadId": str(upload.pk), **upload.target}))


class RetryView(MutationView):
    """Another try."""

    @mutation(schemas.UploadIdData, can_fail=(404, 410))
    def post(self, request: Request, upload_id: UUID) -> JsonResponse:
        """Try a failed upload again, as a new operation."""
        body = parse(Mutation, json_body(request))
        identity, user = identity_of(request, body), user_of(request)
        digest = submit.fingerprint(method="POST", path=request.path, body={}, expect=identity.expect)
        upload = selectors.upload(user, upload_id)
        return accept(services.retry(upload, user, identity, digest))
