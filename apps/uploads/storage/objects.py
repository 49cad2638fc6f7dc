"""Objects and multipart uploads of one bucket, over boto3."""

import base64
import contextlib
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from apps.uploads.storage.contract import ObjectInfo, OpenMultipart, PartInfo
from apps.uploads.storage.errors import NothingThere, ObjectMissing, StorageRefused, UploadMissing, translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LONGEST_URL_SECONDS = 7 * 24 * 3600
"""A version 4 signature holds for no longer."""


class ObjectStore:
    """The `Store` over boto3. ``public_client`` makes the URLs for clients, where they know storage by another name."""

    def __init__(self, client: "S3Client", bucket: str, *, public_client: "S3Client | None" = None) -> None:
        self._s3, self.bucket, self._public = client, bucket, public_client or client

    def create_multipart(self, key: str, content_type: str) -> str:
        with translated():
            return self._s3.create_multipart_upload(Bucket=self.bucket, Key=key, ContentType=content_type)["UploadId"]

    def upload_part(self, key: str, upload_id: str, number: int, body: bytes | IO[bytes], *, md5: bytes = b"") -> str:
        check: dict[str, Any] = {"ContentMD5": base64.b64encode(md5).decode()} if md5 else {}
        with translated():
            answer = self._s3.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body, **check
            )
            return answer["ETag"]

    def copy_part(self, key: str, upload_id: str, number: int, source_key: str, start: int, length: int) -> str:
        with translated():
            answer = self._s3.upload_part_copy(
                Bucket=self.bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                CopySource={"Bucket": self.bucket, "Key": source_key},
                CopySourceRange=f"bytes={start}-{start + length - 1}",
            )
            return answer["CopyPartResult"]["ETag"]

    def list_parts(self, key: str, upload_id: str) -> list[PartInfo]:
        with translated():
            pages = self._s3.get_paginator("list_parts").paginate(Bucket=self.bucket, Key=key, UploadId=upload_id)
            found = [part for page in pages for part in page.get("Parts", [])]
        return [PartInfo(part["PartNumber"], part["ETag"], part["Size"]) for part in found]

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[tuple[int, str]]) -> None:
        wanted: Any = {"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in parts]}
        try:
            with translated():
                self._s3.complete_multipart_upload(
                    Bucket=self.bucket, Key=key, UploadId=upload_id, MultipartUpload=wanted
                )
        except UploadMissing:
            # It worked, and the answer was lost: nothing else writes to this key.
            with contextlib.suppress(ObjectMissing):
                self.head(key)
                return
            raise

    def abort_multipart(self, key: str, upload_id: str) -> None:
        with contextlib.suppress(UploadMissing, ObjectMissing), translated():
            self._s3.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)

    def put(self, key: str, body: bytes | IO[bytes], *, content_type: str = "application/octet-stream") -> str:
        with translated():
            return self._s3.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)["ETag"]

    def get_range(self, key: str, start: int, length: int) -> bytes:
        if length <= 0:
            return b""
        wanted = f"bytes={start}-{start + length - 1}"
        try:
            with translated():
                answer = self._s3.get_object(Bucket=self.bucket, Key=key, Range=wanted)
                with contextlib.closing(answer["Body"]) as body:
                    return body.read(length)
        except NothingThere:
            return b""

    def head(self, key: str) -> ObjectInfo:
        with translated():
            found = self._s3.head_object(Bucket=self.bucket, Key=key)
        return ObjectInfo(key, found["ContentLength"], found["ETag"], found["LastModified"], found["ContentType"])

    def delete(self, key: str) -> None:
        with translated():
            for version in self._versions(key):
                self._s3.delete_object(Bucket=self.bucket, Key=key, **version)

    def list_objects(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        options: Any = {"StartAfter": after} if after else {}
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, **options)
        for page in _each(pages):
            for found in page.get("Contents", []):
                yield ObjectInfo(found["Key"], found["Size"], found["ETag"], found["LastModified"])

    def list_multiparts(self, prefix: str) -> Iterator[OpenMultipart]:
        pages = self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
        for page in _each(pages):
            for found in page.get("Uploads", []):
                yield OpenMultipart(found["Key"], found["UploadId"], found["Initiated"])

    def presign_get(self, key: str, seconds: int, *, content_type: str, disposition: str) -> str:
        answered = {"ResponseContentType": content_type, "ResponseContentDisposition": disposition}
        return self._presign("get_object", seconds, Key=key, **answered)

    def presign_part(self, key: str, upload_id: str, number: int, seconds: int) -> str:
        return self._presign("upload_part", seconds, Key=key, UploadId=upload_id, PartNumber=number)

    def _presign(self, verb: str, seconds: int, **of: Any) -> str:
        holds = max(1, min(seconds, LONGEST_URL_SECONDS))
        return self._public.generate_presigned_url(verb, Params={"Bucket": self.bucket, **of}, ExpiresIn=holds)

    def _versions(self, key: str) -> Iterator[dict[str, Any]]:
        """
        Name every version of an object, and what hides it.

        Backblaze B2 keeps versions of everything: a deletion that names none only hides the object.
        """
        try:
            with translated():
                pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=key)
                found = [
                    version
                    for page in pages
                    for version in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
                    if version["Key"] == key
                ]
        except StorageRefused:
            found = []  # a server without versions
        named = [{"VersionId": version["VersionId"]} for version in found if version.get("VersionId", "null") != "null"]
        return iter(named or [{}])


def _each(pages: Any) -> Iterator[Any]:
    """Go through pages that are fetched on the way, each of which may fail."""
    with translated():
        yield from pages
