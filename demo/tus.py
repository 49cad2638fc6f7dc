"""
A small tus 1.0 client, as docs/uploads.md describes the server.

It repeats nothing by itself: what a request did or did not do is for whoever sent it to see.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from demo.client import Answer, Api, Json

PATH = "/api/v1/uploads/tus/"
BYTES = "application/offset+octet-stream"
_VERSION = {"Tus-Resumable": "1.0.0"}


class Refused(Exception):
    """An upload was not created."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status}: {answer.body}")
        self.answer = answer


@dataclass(slots=True)
class Upload:
    """An upload that was created: where it is, and the ids that came with it."""

    api: Api
    url: str
    upload_id: str
    operation_id: str
    target_id: str
    """The videoId or mediaId."""

    def head(self) -> Answer:
        """Ask for the state, whatever it is."""
        return self.api.request("HEAD", self.url, None, _VERSION)

    def offset(self) -> int:
        """Ask where to go on."""
        answer = self.head()
        assert answer.status == 200, answer
        return int(answer.headers["Upload-Offset"])

    def patch(self, offset: int, data: bytes, **headers: str) -> Answer:
        """Bring bytes."""
        sent = {**_VERSION, "Content-Type": BYTES, "Upload-Offset": str(offset), **headers}
        return self.api.request("PATCH", self.url, data, sent)

    def stream(self, offset: int, pieces: Iterator[bytes], length: int) -> Answer:
        """Bring so many bytes, piece by piece."""
        sent = {**_VERSION, "Content-Type": BYTES, "Upload-Offset": str(offset), "Content-Length": str(length)}
        return self.api.request("PATCH", self.url, pieces, sent)

    def read(self) -> Json:
        """Read the upload as JSON."""
        found: Json = self.api.get(f"uploads/{self.upload_id}/").data
        return found


def create(api: Api, size: int, target: Mapping[str, Any], *, filename: str = "film.mp4", **more: Any) -> Upload:
    """
    Open an upload; ``more`` is further metadata, such as ``operationId``, ``stepId`` and ``expect``.

    Raises:
        Refused: with the answer.
    """
    given = {"filename": filename, "target": json.dumps(target), **more}
    answer = api.request(
        "POST", PATH, b"", {**_VERSION, "Upload-Length": str(size), "Upload-Metadata": metadata(given)}
    )
    if answer.status != 201:
        raise Refused(answer)
    headers = answer.headers
    target_id = headers.get("CourseHub-Video-Id") or headers.get("CourseHub-Media-Id") or ""
    return Upload(
        api, headers["Location"], headers["CourseHub-Upload-Id"], headers["CourseHub-Operation-Id"], target_id
    )


def metadata(given: Mapping[str, Any]) -> str:
    """Write ``Upload-Metadata``."""
    return ",".join(f"{key} {base64.b64encode(str(value).encode()).decode()}" for key, value in given.items())
