"""Uploads in tests of the API: tus requests in this process, and files found to be what they are said to be."""

import base64
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.test import Client

from apps.accounts import tokens
from apps.accounts.models import User
from apps.uploads.errors import NotAllowed
from apps.uploads.inspection.facts import Facts
from apps.uploads.storage import Store

MIB = 1024 * 1024
TUS = "/api/v1/uploads/tus/"


FILM = Facts("video/mp4", "video", "mp4", duration_ms=2_000, width=320, height=180, codecs=("h264", "aac"))


class Looker:
    """
    Stands where files are looked at: every file is ``seen`` as a film, unless its content begins with ``bad``.

    ``failures`` are raised by the next looks; ``meanwhile`` is done during each.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.seen = store, FILM
        self.looked_at: list[str] = []
        self.failures: list[BaseException] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, key: str, size: int) -> Facts:
        self.looked_at.append(key)
        self.meanwhile()
        if self.failures:
            raise self.failures.pop(0)
        if self.store.get_range(key, 0, 3) == b"bad":
            raise NotAllowed("This is no film.")
        return self.seen


@dataclass(frozen=True)
class Said:
    """An answer of tus."""

    status: int
    headers: Any
    body: bytes

    @property
    def offset(self) -> int:
        return int(self.headers["Upload-Offset"])

    @property
    def error(self) -> Any:
        return json.loads(self.body)["error"]

    @property
    def url(self) -> str:
        assert self.status == 201, (self.status, self.body)
        return str(self.headers["Location"])

    @property
    def upload_id(self) -> str:
        return self.url.rsplit("/", 1)[1]


class Tus:
    """A user's tus requests."""

    def __init__(self, user: User | None) -> None:
        self._client = Client(raise_request_exception=False)
        self._headers = {"authorization": f"Bearer {tokens.issue(user)['access']}"} if user else {}

    def request(self, method: str, url: str, body: bytes = b"", **headers: str) -> Said:
        """``headers`` with underscores; ``tus_resumable=""`` leaves that one out."""
        sent = {"tus-resumable": "1.0.0", **self._headers, **_dashed(headers)}
        content_type = sent.pop("content-type", "")
        kept = {name: value for name, value in sent.items() if value != ""}
        # A body that is shorter than it says breaks off, as it does where the connection breaks.
        length = kept.pop("content-length", str(len(body)))
        extra: Any = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": length, "CONTENT_TYPE": content_type}
        response = self._client.generic(method, url, headers=kept, **extra)
        return Said(response.status_code, response.headers, response.content)

    def create(self, size: int | None, target: Mapping[str, Any] | None, *, body: bytes = b"", **more: Any) -> Said:
        """Open an upload; ``more`` is metadata, or a header if it begins with a capital letter."""
        headers = {name: value for name, value in more.items() if name[0].isupper()}
        given = {"filename": "film.mp4", **{n: v for n, v in more.items() if not n[0].isupper()}}
        if target is not None:
            given["target"] = json.dumps(target)
        length = {"upload-defer-length": "1"} if size is None else {"upload-length": str(size)}
        if body:
            headers["content-type"] = "application/offset+octet-stream"
        return self.request("POST", TUS, body, **{**length, "upload-metadata": metadata(given), **headers})

    def patch(self, url: str, offset: int, body: bytes, **headers: str) -> Said:
        sent = {"content-type": "application/offset+octet-stream", "upload-offset": str(offset), **_dashed(headers)}
        return self.request("PATCH", url, body, **sent)

    def head(self, url: str) -> Said:
        return self.request("HEAD", url)


def metadata(given: Mapping[str, Any]) -> str:
    """Write Upload-Metadata."""
    return ",".join(f"{key} {base64.b64encode(str(value).encode()).decode()}" for key, value in given.items())


def content(size: int) -> bytes:
    """Bytes of which no two places look alike."""
    block = b"".join(number.to_bytes(4, "big") for number in range(min(size, 4 * MIB) // 4 + 1))
    return (block * (size // len(block) + 1))[:size]


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-").lower(): value for name, value in headers.items()}
