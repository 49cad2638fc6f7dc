"""Reading back what a client uploaded, as a player does: by the signed URL alone."""

import json
import urllib.request
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from demo.client import Api, Json, Listener
from tests.support.stack import Course

SECONDS = 120
"""How long a client, storage and a worker may take for a film."""


@dataclass(frozen=True)
class Film:
    """A film on its way into a chapter, under an operationId, and the tab that hears of it."""

    owner: Api
    course: Course
    tab: Listener
    content: bytes
    operation_id: str = field(default_factory=lambda: f"film-{uuid.uuid4()}")

    @property
    def target(self) -> Json:
        """What the film is for."""
        return {"kind": "video", "chapterId": self.course.chapters[0], "title": "Film"}

    @property
    def metadata(self) -> dict[str, str]:
        """What tus clients say of it."""
        target = json.dumps(self.target)
        return {"filename": "film.mp4", "filetype": "video/mp4", "target": target, "operationId": self.operation_id}

    def is_there(self) -> Json:
        """Wait until it is whole; returns the event that says so. Its bytes are those that were sent."""
        done: Json = self.tab.wait_for(self._is_done, SECONDS)
        assert done["type"] == "upload-complete", done
        assert done["data"]["finalData"]["size"] == len(self.content)
        assert read(self.playback(done)["url"])[1] == self.content
        return done

    def playback(self, done: Json) -> Json:
        """Ask for the signed URL."""
        data: Json = self.ask(f"videos/{done['data']['videoId']}/playback/")
        return data

    def ask(self, path: str) -> Any:
        """Read something as the owner, whose own connection the API may have closed meanwhile."""
        with closing(self.owner.again()) as owner:
            return owner.get(path).data

    def progress(self) -> list[Json]:
        """List the progress that the tab heard."""
        return [frame["data"] for frame in self.tab.events() if frame["type"] == "upload-progress"]

    def _is_done(self, frame: Json) -> bool:
        return frame["type"] in ("upload-complete", "operation-failed") and frame["operationId"] == self.operation_id


def read(url: str, **headers: str) -> tuple[int, bytes, Any]:
    """Read a URL; returns the status, the body and the headers."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the URL is the API's
    with urllib.request.urlopen(request) as response:  # noqa: S310
        return response.status, response.read(), response.headers
