"""What the clients of Python have in common: what they are told, what they say, and where they resume."""

import json
import sys
from typing import Any, Final
from urllib.parse import urlencode

from broadcast.contracts import topics

RETRY_SECONDS: Final = 0.05


class Follower:
    """Follows a topic and the user's own over many connections."""

    def __init__(self) -> None:
        told = json.loads(sys.argv[1])
        self.ticket: str = told["ticket"]
        self._url, self._topic = told["url"], told["topic"]
        self._last: dict[str, int] = {}

    def resuming_url(self, **more: str) -> str:
        """Make the URL that resumes the user's own topic."""
        own = next((seq for topic, seq in self._last.items() if topic.startswith("user:")), 0)
        return f"{self._url}?{urlencode({'since': own, **more})}"

    def subscribe(self) -> str:
        """Make the frame that resumes the other topic."""
        return json.dumps({"type": "subscribe", "topic": self._topic, "since": self._last.get(self._topic, 0)})

    def take(self, text: str | bytes) -> None:
        """Take a frame."""
        frame = json.loads(text)
        if "data" in frame and "seq" in frame:
            self._last[topics.of_envelope(frame)] = frame["seq"]
        say(frame=frame)


def say(**line: Any) -> None:
    """Tell the test."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
