"""The headers of tus: read and written."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from apps.core import errors, incoming

if TYPE_CHECKING:
    from hashlib import _Hash

VERSION = "1.0.0"
ALGORITHMS = ("sha1", "sha256", "md5")
EXTENSIONS = (
    *("creation", "creation-with-upload", "creation-defer-length", "termination", "checksum", "expiration"),
    "concatenation",
)
LONGEST_METADATA = 16 * 1024
_FROM_PATH = re.compile(
    r"(?:https?://[^/]+)?/api/v1/uploads/tus/([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})/?"
)


class UnsupportedVersion(errors.CourseHubError):
    """Speak tus 1.0.0."""

    code, status = "unsupported_tus_version", 412


@dataclass(frozen=True, slots=True)
class Checksum:
    """What ``Upload-Checksum`` says about a body."""

    algorithm: str
    digest: bytes

    def begin(self) -> "_Hash":
        """Begin to compute the same of what comes."""
        return hashlib.new(self.algorithm, usedforsecurity=False)


@dataclass(frozen=True, slots=True)
class Concatenation:
    """What ``Upload-Concat`` says: a part of a file to be, or a file of the parts with these ids."""

    is_partial: bool
    parts_of: tuple[str, ...] = ()


def number(name: str, value: str | None) -> int | None:
    """
    Read a header that is a whole number.

    Raises:
        errors.Invalid: it is not.
    """
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise errors.Invalid(fields={name: ["A whole number that is not negative."]})
    return int(value)


def metadata(value: str | None) -> dict[str, str]:
    """
    Read ``Upload-Metadata``: pairs of a key and a value in Base64, separated by commas.

    Raises:
        errors.Invalid: it is not of that form, its values are not UTF-8, or it is too long.
    """
    if not value:
        return {}
    if len(value) > LONGEST_METADATA:
        raise errors.Invalid(fields={"Upload-Metadata": [f"At most {LONGEST_METADATA} characters."]})
    found: dict[str, str] = {}
    for pair in value.split(","):
        key, _, encoded = pair.strip().partition(" ")
        if not key or key in found:
            raise errors.Invalid(fields={"Upload-Metadata": ["Each key once, with a value in Base64."]})
        found[key] = _decoded(encoded.strip(), key)
    return found


def _decoded(encoded: str, key: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        raise errors.Invalid(fields={"Upload-Metadata": [f"{key[:64]} is not UTF-8 in Base64."]}) from None


def target(text: str | None) -> Mapping[str, Any]:
    """
    Read the target out of the metadata.

    Raises:
        errors.Invalid: it is missing, not a JSON object, or nested too deeply.
    """
    try:
        found = incoming.read_json(text or "")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise errors.Invalid(fields={"Upload-Metadata": ["target must be a JSON object."]})
    return found


def checksum(value: str | None) -> Checksum | None:
    """
    Read ``Upload-Checksum``: an algorithm and a digest in Base64; an empty header says nothing.

    Raises:
        errors.Invalid: it is not of that form, or another algorithm.
    """
    if not value:
        return None
    algorithm, _, encoded = value.strip().partition(" ")
    try:
        digest = base64.b64decode(encoded.strip(), validate=True)
    except ValueError:
        digest = b""
    if algorithm not in ALGORITHMS or len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise errors.Invalid(fields={"Upload-Checksum": [f"One of {', '.join(ALGORITHMS)} and a digest in Base64."]})
    return Checksum(algorithm, digest)


def concatenation(value: str | None) -> Concatenation | None:
    """
    Read ``Upload-Concat``.

    Raises:
        errors.Invalid: it is neither ``partial`` nor ``final;`` with URLs of uploads.
    """
    if value is None:
        return None
    if value.strip() == "partial":
        return Concatenation(is_partial=True)
    kind, _, urls = value.strip().partition(";")
    found = [_FROM_PATH.fullmatch(url) for url in urls.split()]
    if kind != "final" or not found or not all(found):
        raise errors.Invalid(fields={"Upload-Concat": ["partial, or final; and the URLs of the partial uploads."]})
    return Concatenation(is_partial=False, parts_of=tuple(match[1].lower() for match in found if match))


def http_date(moment: datetime) -> str:
    """Write a time as ``Upload-Expires`` wants it."""
    return format_datetime(moment, usegmt=True)


def sha256(value: str | None) -> str:
    """
    Read a file's SHA-256 in hex out of the metadata; empty if there is none.

    Raises:
        errors.Invalid: it is not one.
    """
    if not value:
        return ""
    plain = value.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise errors.Invalid(fields={"Upload-Metadata": ["checksum is the file's SHA-256 in hex."]})
    return plain
