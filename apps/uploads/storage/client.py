"""
The one place that builds a boto3 client, with options that Backblaze B2, AWS and the embedded server all take.

B2 refuses the checksum headers that newer SDKs send by default, hence ``when_required``; presigned URLs have to be
version 4 signatures, which are not the SDK's default for every endpoint.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from django.conf import settings

from apps.uploads.storage.errors import misconfigured, translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS, CONNECTIONS = 3, 60, 4, 32
_THIS_MACHINE = {"127.0.0.1", "::1", "localhost"}


def make(
    endpoint_url: str | None = None, *, read_seconds: float = READ_SECONDS, attempts: int = ATTEMPTS
) -> "S3Client":
    """
    Build a client; building one takes a tenth of a second, and it may be used by many threads at once.

    ``endpoint_url``: where to, instead of S3_ENDPOINT_URL; what it signs is signed for that name. ``read_seconds``: for
    how long storage may say nothing, in each of the ``attempts``.

    Raises:
        StorageMisconfigured: with these settings there can be none.
    """
    url = endpoint_url or settings.S3_ENDPOINT_URL or None  # none: AWS itself
    try:
        with translated():
            made: S3Client = boto3.session.Session().client(
                "s3",
                endpoint_url=url,
                region_name=settings.S3_REGION,
                aws_access_key_id=settings.AWS_ACCESS_KEY_ID or None,  # none: boto looks for a role of the machine's
                aws_secret_access_key=settings.AWS_SECRET_ACCESS_KEY or None,
                config=_config(url, read_seconds, attempts),
            )
    except ValueError as error:  # so boto says that a URL cannot be used
        raise misconfigured(str(error)) from error
    return made


def _config(url: str | None, read_seconds: float, attempts: int) -> Config:
    options: dict[str, Any] = {
        "signature_version": "s3v4",
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": read_seconds,
        "retries": {"mode": "standard", "total_max_attempts": attempts},
        "max_pool_connections": CONNECTIONS,
        "tcp_keepalive": True,
        "s3": {
            # A bucket as a host name wants DNS and a certificate for it: only AWS itself is sure to have both.
            "addressing_style": "path" if settings.S3_ENDPOINT_URL else "virtual",
            # A signature over a body costs a second pass over every byte, here and in storage.
            "payload_signing_enabled": not _arrives_as_sent(url),
        },
    }
    return Config(**options)


def _arrives_as_sent(url: str | None) -> bool:
    """Tell whether bodies are safe on their way without a signature of their own: by TLS, or inside this machine."""
    parts = urlsplit(url or "https:")
    return parts.scheme == "https" or parts.hostname in _THIS_MACHINE
