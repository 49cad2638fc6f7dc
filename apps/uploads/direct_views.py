"""
The requests of uploads that go straight to storage, as Uppy's ``@uppy/aws-s3`` asks them of its companion.

That wants ``key`` and ``uploadId``, a bare list of parts, or a ``url`` at the top of the answer; where there is room
beside them, the answer says what all others do.
"""

import json
from typing import Any
from uuid import UUID

from django.http import JsonResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from apps.accounts.authentication import user_of
from apps.core import documentation, errors
from apps.core.api import ApiView, answer, json_body
from apps.core.schemas import parse
from apps.operations import submit
from apps.operations.api import MutationView, accept, identity_of, mutation
from apps.operations.schemas import NothingData
from apps.uploads import direct, names, schemas, selectors, services, show, sizes
from apps.uploads.models import Protocol, Upload
from apps.uploads.services import Announced
from apps.uploads.tus import headers

_NUMBER = OpenApiParameter("number", {"type": "integer", "minimum": 1, "maximum": sizes.PARTS_MAX}, "path")
_ENDED = {413: "More has arrived than the file may have, and the upload has ended; or the body is too large."}
_FROM_METADATA = ("operationId", "stepId", "expect", "size", "checksum", "target")


class CreationView(MutationView):
    """Where uploads begin."""

    @mutation(
        schemas.UploadIdData,
        body=schemas.CreateMultipart,
        answer=schemas.MultipartAccepted,
        can_fail=(403, 404, 410),
    )
    def post(self, request: Request) -> JsonResponse:
        """Open an upload whose bytes go straight to storage."""
        raw = json_body(request)
        body = parse(schemas.CreateMultipart, _with_metadata(raw))
        identity = identity_of(request, body)
        digest = submit.fingerprint(method="POST", path=request.path, body=raw, expect=identity.expect)
        file = Announced(
            protocol=Protocol.S3,
            filename=names.clean(body.filename),
            declared_type=names.media_type(body.type),
            size=body.size,
            checksum=body.checksum or "",
        )
        accepted = services.create(user_of(request), identity, digest, file, body.target)
        return _accept(Upload.objects.get(pk=accepted.data["uploadId"]), accepted)


def _with_metadata(raw: dict[str, Any]) -> dict[str, Any]:
    """Take what Uppy has in its metadata, mostly as text, for the body's own fields."""
    metadata = raw.get("metadata")
    if not isinstance(metadata, dict):
        return raw
    taken = {name: _plain(name, metadata[name]) for name in _FROM_METADATA if metadata.get(name) not in (None, "")}
    return {**taken, **raw}


def _plain(name: str, value: Any) -> Any:
    if name == "target" and isinstance(value, str):
        return headers.target(value)
    return int(value) if name in ("size", "expect") and isinstance(value, str) and _is_number(value) else value


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _accept(upload: Upload, accepted: submit.Accepted, **more: Any) -> JsonResponse:
    response = accept(accepted)
    content = {**json.loads(response.content), "key": upload.key, "uploadId": str(upload.pk), **more}
    response.content = json.dumps(content).encode()
    return response


class MultipartView(ApiView):
    """One upload."""

    throttle_classes = ()

    @documentation.answers(None, answer=schemas.Arrived, can_fail=(404, 409, 410, 413, 502), reasons=_ENDED)
    def get(self, request: Request, upload_id: UUID) -> JsonResponse:
        """List the parts that have arrived, as a bare list of ``{PartNumber, Size, ETag}``."""
        found = direct.arrived(selectors.upload(user_of(request), upload_id))
        parts = [{"PartNumber": part.number, "Size": part.size, "ETag": part.etag} for part in found]
        return JsonResponse(parts, safe=False)

    @documentation.answers(schemas.UploadIdData, body=NothingData, can_fail=(400, 404, 409, 413, 415))
    def delete(self, request: Request, upload_id: UUID) -> JsonResponse:
        """Abort the upload."""
        parse(NothingData, json_body(request))
        upload = selectors.upload(user_of(request), upload_id)
        services.abort(upload)
        return answer({"uploadId": str(upload.pk), **upload.target})


class SignView(ApiView):
    """The URL of one part."""

    throttle_classes = ()

    @documentation.answers(
        None,
        answer=schemas.Signed,
        parameters=[_NUMBER],
        can_fail=(400, 404, 409, 410, 413, 502),
        name="uploads_s3_sign",
        reasons=_ENDED,
    )
    def get(self, request: Request, upload_id: UUID, number: int) -> JsonResponse:
        """Sign the URL to which a part may be PUT: ``{url, method, expires}``."""
        upload = selectors.upload(user_of(request), upload_id)
        urls = direct.sign(upload, [number])
        return JsonResponse({"url": urls[number], "method": "PUT", "expires": direct.URL_SECONDS})


class BatchView(ApiView):
    """The URLs of many parts."""

    throttle_classes = ()

    @documentation.answers(
        None,
        answer=schemas.SignedBatch,
        query=schemas.Numbers,
        can_fail=(400, 404, 409, 410, 413, 502),
        reasons=_ENDED,
    )
    def get(self, request: Request, upload_id: UUID) -> JsonResponse:
        """Sign many parts at once: ``{presignedUrls: {number: url}}``."""
        query = self.query(schemas.Numbers)
        return self._sign(request, upload_id, [int(number) for number in query.partNumbers.split(",")])

    @documentation.answers(
        None,
        answer=schemas.SignedBatch,
        body=schemas.SignBatch,
        can_fail=(400, 404, 409, 410, 413, 415, 502),
        reasons=_ENDED,
    )
    def post(self, request: Request, upload_id: UUID) -> JsonResponse:
        """Sign many parts at once, their numbers in the body."""
        return self._sign(request, upload_id, parse(schemas.SignBatch, json_body(request)).part_numbers)

    def _sign(self, request: Request, upload_id: UUID, numbers: list[int]) -> JsonResponse:
        urls = direct.sign(selectors.upload(user_of(request), upload_id), numbers)
        return JsonResponse({"presignedUrls": {str(number): url for number, url in urls.items()}})


class PartsView(ApiView):
    """What the client says has arrived."""

    throttle_classes = ()

    @documentation.answers(schemas.UploadData, body=schemas.Parts, can_fail=(400, 404, 409, 410, 413, 415))
    def post(self, request: Request, upload_id: UUID) -> JsonResponse:
        """Report parts that have arrived, so that other tabs see how far the upload is."""
        upload = selectors.upload(user_of(request), upload_id)
        direct.report(upload, _parts(request, upload))
        return answer(show.upload(upload))


class CompleteView(ApiView):
    """The end of an upload, as far as the client is concerned."""

    throttle_classes = ()

    @documentation.answers(
        schemas.UploadIdData,
        answer=schemas.MultipartCompleted,
        body=schemas.Parts,
        status=202,
        can_fail=(400, 404, 409, 410, 413, 415),
    )
    def post(self, request: Request, upload_id: UUID) -> JsonResponse:
        """Say that all parts have arrived; what becomes of them is told by events."""
        upload = selectors.upload(user_of(request), upload_id)
        direct.finish(upload, _parts(request, upload))
        accepted = submit.Accepted(upload.operation_key, {"uploadId": str(upload.pk), **upload.target})
        return _accept(upload, accepted, location=f"/api/v1/uploads/{upload.pk}/")


def _parts(request: Request, upload: Upload) -> list[Any]:
    body = parse(schemas.Parts, json_body(request))
    return [direct.part(upload, part.number, part.etag, part.size) for part in body.parts]


class ParamsView(ApiView):
    """Uppy's way for small files, which not every storage knows."""

    @extend_schema(exclude=True)
    def get(self, request: Request) -> JsonResponse:  # noqa: ARG002
        """Refuse: uploads in one piece want a POST policy, which Backblaze B2 and others do not have."""
        raise errors.Invalid("Use multipart for every file: shouldUseMultipart: true.")
