"""Making and checking the bucket."""

import uuid
from collections.abc import Callable

from botocore.exceptions import ClientError
from django.conf import settings

from apps.uploads.storage import client
from apps.uploads.storage.errors import translated
from apps.uploads.storage.process import make

CHECKS_PREFIX = "checks/"
_CORS = {
    "AllowedMethods": ["GET", "HEAD", "PUT"],
    "AllowedHeaders": ["*"],
    "ExposeHeaders": ["ETag"],
    "MaxAgeSeconds": 3600,
}
_LIFECYCLE = {
    "Rules": [
        {
            "ID": "abort-left-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        }
    ]
}
_NOTHING_SET = {"NoSuchCORSConfiguration", "NoSuchLifecycleConfiguration"}
_OURS = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def ensure() -> bool:
    """
    See that the bucket is there, making it if need be, and that it takes what we send; True: it was made.

    Raises:
        StorageAway, StorageRefused: it cannot be used.
    """
    was_made = _make()
    key = f"{CHECKS_PREFIX}{uuid.uuid4()}"
    store = make()
    store.put(key, b"written by ensure_bucket")
    store.head(key)
    store.delete(key)
    return was_made


def configure() -> dict[str, str]:
    """
    Let the origins of CORS_ALLOWED_ORIGINS upload directly, and have the store abort uploads that were left for a week.

    What somebody has set already stays; where the store has no such settings, or the key may not make them, they are
    left alone. Says which of all it was.

    Raises:
        StorageAway, StorageRefused: it cannot be used.
    """
    s3, origins = client.make(), list(settings.CORS_ALLOWED_ORIGINS)
    cors = {"CORSRules": [{**_CORS, "AllowedOrigins": origins}]}

    def set_cors() -> object:
        return s3.put_bucket_cors(Bucket=settings.S3_BUCKET, CORSConfiguration=cors)  # type: ignore[arg-type]

    def set_lifecycle() -> object:
        return s3.put_bucket_lifecycle_configuration(Bucket=settings.S3_BUCKET, LifecycleConfiguration=_LIFECYCLE)  # type: ignore[arg-type]

    return {
        "CORS": _set(lambda: s3.get_bucket_cors(Bucket=settings.S3_BUCKET).get("CORSRules"), set_cors)
        if origins
        else "no origins",
        "lifecycle": _set(
            lambda: s3.get_bucket_lifecycle_configuration(Bucket=settings.S3_BUCKET).get("Rules"), set_lifecycle
        ),
    }


def _set(get: Callable[[], object], put: Callable[[], object]) -> str:
    with translated():
        try:
            # Swift answers a question about the lifecycle with a list of objects.
            return "there" if get() else "left alone (not understood)"
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NOTHING_SET:
                return _left(error)
        try:
            put()
            return "set"
        except ClientError as error:
            return _left(error)


def _left(error: ClientError) -> str:
    """Do without: not every store has this, and not every key may do it."""
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status >= 500 and status != 501:
        raise error
    return f"left alone ({error.response['Error']['Code']})"


def _make() -> bool:
    s3, where = client.make(), {}
    if not settings.S3_ENDPOINT_URL and settings.S3_REGION != "us-east-1":
        where = {"CreateBucketConfiguration": {"LocationConstraint": settings.S3_REGION}}
    with translated():
        try:
            s3.head_bucket(Bucket=settings.S3_BUCKET)
            return False
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
        try:
            s3.create_bucket(Bucket=settings.S3_BUCKET, **where)  # type: ignore[arg-type]
        except ClientError as error:
            if error.response["Error"]["Code"] not in _OURS:
                raise
            return False
    return True
