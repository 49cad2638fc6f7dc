"""Making and checking the bucket."""

import uuid

from botocore.exceptions import ClientError
from django.conf import settings

from apps.uploads.storage import client
from apps.uploads.storage.errors import translated
from apps.uploads.storage.process import make

CHECKS_PREFIX = "checks/"
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
