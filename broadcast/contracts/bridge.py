"""The bridge: how a POST of events to the broadcast service is signed, and how much one may carry."""

import hashlib
import hmac
import time
from typing import Final

PATH: Final = "/broadcast"
TIMESTAMP_HEADER: Final = "X-CourseHub-Timestamp"
SIGNATURE_HEADER: Final = "X-CourseHub-Signature"
WINDOW_SECONDS: Final = 300
MAX_EVENTS: Final = 1_000
MAX_BODY_BYTES: Final = 4 * 1024 * 1024
_VERSION: Final = "v1"
_LONGEST_TIMESTAMP: Final = 15


class InvalidSignature(Exception):
    """The signature does not belong to this body, or its timestamp is too far from now."""


def sign(body: bytes, *, secret: str, timestamp: str) -> str:
    """Sign a body as the ``X-CourseHub-Signature`` header wants it. ``timestamp``: seconds since the epoch."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"{_VERSION}={digest}"


def signed_headers(body: bytes, *, secret: str) -> dict[str, str]:
    """Make both headers for a body that is sent now."""
    timestamp = str(int(time.time()))
    return {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: sign(body, secret=secret, timestamp=timestamp)}


def verify(body: bytes, *, secret: str, timestamp: str, signature: str, now: float | None = None) -> None:
    """
    Check a body against its two headers, in constant time.

    Raises:
        InvalidSignature: another secret, another body, another timestamp, or one over `WINDOW_SECONDS` away.
    """
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _LONGEST_TIMESTAMP):
        raise InvalidSignature
    if abs((time.time() if now is None else now) - int(timestamp)) > WINDOW_SECONDS:
        raise InvalidSignature
    if not hmac.compare_digest(sign(body, secret=secret, timestamp=timestamp).encode(), signature.encode()):
        raise InvalidSignature
