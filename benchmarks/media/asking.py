"""Asking over HTTP, one at a time, and keeping how long each answer took."""

import http.client
import random
from dataclasses import dataclass, field
from urllib.parse import quote

from benchmarks.media.questions import Question
from benchmarks.media.world import World
from demo.client import Api
from demo.timing import percentile

PAGES = 3
"""So many pages are read from where a list is opened: at its beginning, or somewhere far down."""


@dataclass(slots=True)
class Asked:
    """How long the answers to a question took; ``slowest`` is the path of the slowest."""

    question: Question
    times_ms: list[float] = field(default_factory=list)
    slowest: str = ""

    @property
    def p95(self) -> float:
        return percentile(self.times_ms, 95)

    @property
    def passes(self) -> bool:
        return self.p95 < self.question.limit_ms

    def note(self, path: str, milliseconds: float) -> None:
        """Keep one time."""
        if milliseconds >= max(self.times_ms, default=0.0):
            self.slowest = path
        self.times_ms.append(milliseconds)


def ask(world: World, question: Question, times: int) -> Asked:
    """Ask a question so often, each time about something else; of lists the first pages and some far down."""
    asked, dice = Asked(question), random.Random(question.path)
    _get(world.api, Asked(question), _filled(question.path, world.choose(dice)))
    opened = 0
    while len(asked.times_ms) < times:
        opened += 1
        path = _filled(question.path, world.choose(dice))
        cursor = world.cursor(question.order, dice) if question.order and not opened % 2 else None
        _turn_pages(world.api, asked, path, cursor)
    return asked


def _turn_pages(api: Api, asked: Asked, path: str, cursor: str | None) -> None:
    if cursor is not None:
        # Some row's place. What it answers has the cursor that a client would come with; if nothing follows, no client.
        cursor = _get(api, Asked(asked.question), _at(path, cursor))
        if cursor is None:
            return
    for _ in range(PAGES if asked.question.deep else 1):
        cursor = _get(api, asked, _at(path, cursor))
        if cursor is None:
            return


def _at(path: str, cursor: str | None) -> str:
    return path if cursor is None else f"{path}{'&' if '?' in path else '?'}cursor={cursor}"


def _get(api: Api, asked: Asked, path: str) -> str | None:
    refused = asked.question.name.startswith("refused")
    try:
        answer = api.delete(path) if refused else api.get(path)
    except (http.client.RemoteDisconnected, ConnectionResetError):
        # The server closed a connection that had nothing to do for some seconds.
        answer = api.delete(path) if refused else api.get(path)
    assert answer.status in ((409,) if refused else (200,)), (path, answer.status, answer.body)
    asked.note(path, answer.seconds * 1000)
    next_: str | None = answer.body.get("next")
    return next_


def _filled(path: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        path = path.replace("{" + name + "}", quote(value))
    return path.replace("%_", "%25_").replace(" ", "+")
