"""The requests of tus 1.0."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.permissions import AllowAny
from rest_framework.request import Request

from apps.accounts.authentication import user_of
from apps.accounts.models import User
from apps.core import bodies, documentation, errors
from apps.core.api import ApiView
from apps.core.schemas import parse
from apps.operations import submit
from apps.operations.api import identity_of
from apps.operations.schemas import Mutation
from apps.uploads import leases, moving, names, selectors, services
from apps.uploads.models import Protocol, Upload, UploadStatus
from apps.uploads.moving import Body
from apps.uploads.services import Announced
from apps.uploads.tus import documented, headers

PATH = "/api/v1/uploads/tus/"
_SILENT_SECONDS = 30
_OVERRIDDEN = frozenset({"PATCH", "DELETE", "HEAD"})


class FileLeftToView(bodies.LeftToView):
    """The same for bytes of a file."""

    media_type = "application/offset+octet-stream"


class TusView(ApiView):
    """What all requests of tus share: its version, and methods that may hide behind POST."""

    parser_classes = [FileLeftToView]

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        made = super().initialize_request(request, *args, **kwargs)
        method = request.headers.get("X-HTTP-Method-Override", "").upper()
        if request.method == "POST" and method in _OVERRIDDEN:
            # For this view alone. The client waits for the body that an answer to its POST may have.
            made.method = method
        return made

    def get_permissions(self) -> Any:
        return [AllowAny()] if self.request.method == "OPTIONS" else super().get_permissions()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if str(request.method) not in self.allowed_methods:
            raise errors.MethodNotAllowed
        if request.method != "OPTIONS" and request.headers.get("Tus-Resumable") != headers.VERSION:
            raise headers.UnsupportedVersion

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Tus-Resumable"] = headers.VERSION
        if response.status_code == headers.UnsupportedVersion.status:
            response["Tus-Version"] = headers.VERSION
        if response.status_code >= 400 and _length(request._request) != 0:
            bodies.throw_rest_away(request._request, response)
        return response

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        return HttpResponse(
            status=204,
            headers={
                "Tus-Version": headers.VERSION,
                "Tus-Extension": ",".join(headers.EXTENSIONS),
                "Tus-Checksum-Algorithm": ",".join(headers.ALGORITHMS),
                "Tus-Max-Size": str(settings.UPLOAD_MAX_BYTES),
                "Allow": "OPTIONS, POST, HEAD, PATCH, DELETE",
            },
        )


class CreationView(TusView):
    """Where uploads begin."""

    @documentation.answers(
        None,
        status=204,
        signed_in=False,
        name="uploads_tus_options",
        parameters=documentation.answered_headers(
            204, "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Checksum-Algorithm", "Tus-Max-Size"
        ),
    )
    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Say what this server understands of tus."""
        return super().options(request, *args, **kwargs)

    @documented.answers(
        201,
        documented.Creation,
        can_fail=(400, 403, 404, 409, 410, 413, 422),
        answered=(
            *("Location", "Upload-Offset", "Upload-Expires", "Operation-Location", "CourseHub-Upload-Id"),
            *("CourseHub-Operation-Id", "CourseHub-Video-Id", "CourseHub-Media-Id"),
        ),
        takes_bytes=True,
        names_itself=True,
    )
    def post(self, request: Request) -> HttpResponse:
        """
        Open an upload; its first bytes may come along.

        ``Upload-Metadata`` has ``filename``, ``filetype``, ``target`` (JSON), and perhaps ``operationId``, ``stepId``,
        ``expect`` and ``checksum`` (SHA-256 of the file in hex).
        """
        user, given = user_of(request), headers.metadata(request.headers.get("Upload-Metadata"))
        concatenation = headers.concatenation(request.headers.get("Upload-Concat"))
        sources = _sources(user, concatenation.parts_of) if concatenation and concatenation.parts_of else []
        checksum = headers.checksum(request.headers.get("Upload-Checksum"))
        file = _announced(request, given, sources)
        if concatenation and concatenation.is_partial:
            upload, operation = services.create_partial(user, file), None
        else:
            accepted = _create(request, user, given, file, sources)
            upload, operation = Upload.objects.get(pk=accepted.data["uploadId"]), accepted
        body = _body(request, checksum)
        upload = _with_first_bytes(request, upload, body)
        response = _created(upload, operation, has_bytes=_brings_bytes(request))
        if body.length != 0 and not body.was_taken(upload.offset):
            bodies.throw_rest_away(request._request, response)
        return response


def _announced(request: Request, given: dict[str, str], sources: list[Upload]) -> Announced:
    size = headers.number("Upload-Length", request.headers.get("Upload-Length"))
    later = request.headers.get("Upload-Defer-Length")
    if sources:
        size = sum(source.offset for source in sources)
    elif later not in (None, "1") or (size is None) != (later == "1"):
        message = "Give either Upload-Length, or Upload-Defer-Length: 1."
        raise errors.Invalid(message, fields={"Upload-Length": [message]})
    return Announced(
        protocol=Protocol.TUS,
        filename=names.clean(given.get("filename") or given.get("name") or ""),
        declared_type=names.media_type(given.get("filetype") or given.get("type") or ""),
        size=size,
        checksum=headers.sha256(given.get("checksum")),
        metadata=request.headers.get("Upload-Metadata", ""),
    )


def _sources(user: User, ids: tuple[str, ...]) -> list[Upload]:
    """Find the partial uploads of a final one, in its order."""
    found = {str(upload.pk): upload for upload in Upload.objects.filter(user=user, is_partial=True, pk__in=ids)}
    if len(set(ids)) != len(ids) or any(id_ not in found for id_ in ids):
        raise errors.NotFound("There is no such partial upload.")
    return [found[id_] for id_ in ids]


def _create(
    request: Request, user: User, given: dict[str, str], file: Announced, sources: list[Upload]
) -> submit.Accepted:
    identity = identity_of(request, parse(Mutation, _naming(given)))
    said = {"metadata": given, "size": file.size, "partsOf": [str(source.pk) for source in sources]}
    digest = submit.fingerprint(method="POST", path=PATH, body=said, expect=identity.expect)
    return services.create(user, identity, digest, file, headers.target(given.get("target")), sources)


def _naming(given: dict[str, str]) -> dict[str, Any]:
    named: dict[str, Any] = {name: given[name] for name in ("operationId", "stepId") if given.get(name)}
    expect = headers.number("expect", given.get("expect") or None)
    return named if expect is None else {**named, "expect": expect}


def _brings_bytes(request: Request) -> bool:
    raw = request._request
    return raw.content_type == documented.BYTES and (_length(raw) is None or _length(raw) != 0)


def _with_first_bytes(request: Request, upload: Upload, body: Body) -> Upload:
    """Take what came along; should that fail, the upload is there all the same, and says how far it is."""
    if not _brings_bytes(request) or upload.offset or upload.parts_of:
        return upload
    try:
        return moving.receive(upload.pk, upload.user_id, body, offset=0)
    except errors.CourseHubError:
        upload.refresh_from_db()
        return upload


def _created(upload: Upload, accepted: submit.Accepted | None, *, has_bytes: bool) -> HttpResponse:
    response = HttpResponse(
        status=201, headers={"Location": f"{PATH}{upload.pk}", "CourseHub-Upload-Id": str(upload.pk)}
    )
    response["Upload-Expires"] = headers.http_date(upload.expires_at)
    if has_bytes:
        response["Upload-Offset"] = str(upload.offset)
    if accepted:
        response["Operation-Location"] = f"/api/v1/operations/{accepted.operation_key}/"
        response["CourseHub-Operation-Id"] = accepted.operation_key
        for name, header in (("videoId", "CourseHub-Video-Id"), ("mediaId", "CourseHub-Media-Id")):
            if name in accepted.data:
                response[header] = accepted.data[name]
    return response


class UploadView(TusView):
    """One upload. Its requests are not counted: there are places for so many at once."""

    throttle_classes = ()
    schema = documented.BodyRequired()

    @documented.answers(
        200,
        documented.Spoken,
        can_fail=(404, 410),
        answered=(
            *("Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Expires"),
            *("Upload-Concat", "Cache-Control"),
        ),
        name="uploads_tus_head",
        without_bodies=True,
    )
    def head(self, request: Request, upload_id: UUID) -> HttpResponse:
        """Say where the upload is; a request that still seems to bring bytes is asked to let go first."""
        upload = selectors.upload(user_of(request), upload_id)
        if upload.status == UploadStatus.UPLOADING:
            with leases.held(upload.pk, [UploadStatus.UPLOADING]):
                upload.refresh_from_db()
        _check_alive(upload)
        return HttpResponse(headers=_state(upload))

    @documented.answers(
        204,
        documented.Bytes,
        can_fail=(400, 403, 404, 409, 410, 413, 415, 423, 460, 502),
        answered=("Upload-Offset", "Upload-Expires"),
        takes_bytes=True,
    )
    def patch(self, request: Request, upload_id: UUID) -> HttpResponse:
        """Bring bytes at the upload's offset."""
        if request._request.content_type != documented.BYTES:
            raise errors.UnsupportedMediaType(f"Send {documented.BYTES}.")
        offset = headers.number("Upload-Offset", request.headers.get("Upload-Offset"))
        if offset is None:
            raise errors.Invalid(fields={"Upload-Offset": ["This is required."]})
        size = headers.number("Upload-Length", request.headers.get("Upload-Length"))
        body = _body(request, headers.checksum(request.headers.get("Upload-Checksum")))
        upload = selectors.upload(user_of(request), upload_id)
        _check_alive(upload)
        if upload.parts_of:
            raise errors.PermissionDenied("This upload consists of others.")
        if upload.status != UploadStatus.UPLOADING and offset == upload.offset and not body.length:
            return _moved(upload)
        moved = moving.receive(upload.pk, upload.user_id, body, offset=offset, size=size)
        response = _moved(moved)
        if not body.was_taken(moved.offset - offset):
            bodies.throw_rest_away(request._request, response)
        return response

    @documented.answers(204, documented.Spoken, can_fail=(404, 409))
    def delete(self, request: Request, upload_id: UUID) -> HttpResponse:
        """Abort the upload."""
        services.abort(selectors.upload(user_of(request), upload_id))
        return HttpResponse(status=204)


def _check_alive(upload: Upload) -> None:
    if upload.status in (UploadStatus.ERROR, UploadStatus.ABORTED):
        raise errors.Gone("This upload has ended without its file.", reason=upload.error)


def _state(upload: Upload) -> dict[str, str]:
    state = {"Upload-Offset": str(upload.offset), "Cache-Control": "no-store"}
    if upload.declared_size is None:
        state["Upload-Defer-Length"] = "1"
    else:
        state["Upload-Length"] = str(upload.declared_size)
    if upload.metadata:
        state["Upload-Metadata"] = upload.metadata
    if upload.is_partial:
        state["Upload-Concat"] = "partial"
    if upload.parts_of:
        state["Upload-Concat"] = "final;" + " ".join(PATH + id_ for id_ in upload.parts_of)
    if upload.status == UploadStatus.UPLOADING:
        state["Upload-Expires"] = headers.http_date(upload.expires_at)
    return state


def _moved(upload: Upload) -> HttpResponse:
    state = _state(upload)
    kept = {name: state[name] for name in ("Upload-Offset", "Upload-Expires") if name in state}
    return HttpResponse(status=204, headers=kept)


def _body(request: Request, checksum: headers.Checksum | None) -> Body:
    environ = request._request.META
    connection = environ.get("gunicorn.socket")
    if connection is not None:
        # One who sends nothing for so long is gone; what they sent until then counts.
        connection.settimeout(_SILENT_SECONDS)
    return Body(environ["wsgi.input"], _length(request._request), checksum, connection)


def _length(request: HttpRequest) -> int | None:
    """Tell how long a body is; None: it comes in chunks."""
    if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    return headers.number("Content-Length", request.META.get("CONTENT_LENGTH") or "0")
