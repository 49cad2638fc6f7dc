"""The bridge's in-memory twin: what the broadcast service would take, refuse or miss, without a broadcast service."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from apps.outbox.bridge import BridgeAway, Gaps, Outgoing, Refused, batch_body
from broadcast.contracts import bridge as contract
from broadcast.contracts import events, topics

Json = dict[str, Any]


class MemoryBridge:
    """
    Takes events as the contract has the broadcast service take them, and remembers them.

    ``posts`` are all batches that came, ``taken`` the durable events of each topic in the order they were taken,
    ``controls`` the control messages, ``progress`` the events without a seq, ``duplicates`` how many events came again.
    A batch is taken whole or not at all.
    """

    def __init__(self) -> None:
        self.posts: list[list[Json]] = []
        self.taken: dict[str, list[Json]] = {}
        self.controls: list[Json] = []
        self.progress: list[Json] = []
        self.duplicates = 0
        self.away = False
        self.most_events = contract.MAX_EVENTS
        self._newest: dict[str, int] = {}
        self._refused: list[tuple[Callable[[Json], bool], bool]] = []
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._someone_waits = threading.Event()

    # What the broadcast service is told to be like

    def refuse(self, is_refused: Callable[[Json], bool], *, by_index: bool = True) -> None:
        """Never take such events again; without ``by_index`` the answer does not say which one it was."""
        self._refused.append((is_refused, by_index))

    def accept_all(self) -> None:
        """Take again what was refused."""
        self._refused.clear()

    def forget(self, topic: str, *, after: int | None = None) -> None:
        """Lose a topic's history after a seq, or (None) know nothing of the topic any more."""
        if after is None:
            self._newest.pop(topic)
        else:
            self._newest[topic] = after

    @contextmanager
    def held(self) -> Iterator[threading.Event]:
        """Answer no POST before the block ends, or `let_go`; gives the event that is set when one has come."""
        self._someone_waits.clear()
        self._open.clear()
        try:
            yield self._someone_waits
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Answer what was held back."""
        self._open.set()

    # The bridge

    def __call__(self) -> "MemoryBridge":
        """Be what makes a bridge, for those who want one for each thread."""
        return self

    def post(self, batch: Sequence[Outgoing]) -> None:
        """Take a batch, as `apps.outbox.bridge.Bridge` has it."""
        self._someone_waits.set()
        if not self._open.wait(10):
            raise AssertionError("nobody let this POST go on")
        with self._lock:
            self._take(batch_body(batch))

    def seqs(self, topic: str) -> list[int]:
        """The seqs of a topic's events, in the order they were taken."""
        return [event["seq"] for event in self.taken.get(topic, [])]

    def types(self, topic: str) -> list[str]:
        """The types of a topic's events, in the order they were taken."""
        return [event["type"] for event in self.taken.get(topic, [])]

    def _take(self, body: bytes) -> None:
        batch: list[Json] = json.loads(body, object_pairs_hook=_each_once)["events"]
        self.posts.append(batch)
        if self.away:
            raise BridgeAway("told to be away")
        if len(batch) > self.most_events or len(body) > contract.MAX_BODY_BYTES:
            raise Refused(None, "too large")
        for index, event in enumerate(batch):
            self._check(index, event)
        self._take_in_order([event for event in batch if "seq" in event])
        self.progress += [event for event in batch if _is_progress(event)]
        self.controls += [event for event in batch if event["type"] == events.ACCESS_REVOKED]

    def _check(self, index: int, event: Json) -> None:
        for is_refused, by_index in self._refused:
            if is_refused(event):
                raise Refused(index if by_index else None, "told to refuse it")
        if event["type"] == events.ACCESS_REVOKED:
            well_formed = event.keys() == {"type", "userId", "topic", "before"}
        else:
            is_numbered = isinstance(event.get("seq"), int) or _is_progress(event)
            well_formed = event["topic"] == topics.of_envelope(event) and is_numbered
        if not well_formed:
            raise Refused(index, "malformed")

    def _take_in_order(self, batch: Sequence[Json]) -> None:
        newest, new = dict(self._newest), []
        expected: dict[str, int] = {}
        for event in batch:
            topic, seq = event["topic"], event["seq"]
            following = newest.get(topic, seq - 1) + 1
            if seq > following:
                expected.setdefault(topic, following)
            elif seq == following:
                newest[topic] = seq
                new.append(event)
        if expected:
            raise Gaps(expected)
        self._newest = newest
        self.duplicates += len(batch) - len(new)
        for event in new:
            self.taken.setdefault(event["topic"], []).append(event)


def _is_progress(event: Json) -> bool:
    return "seq" not in event and event["type"].endswith("-progress")


def _each_once(members: list[tuple[str, Any]]) -> Json:
    """Read an object whose members have different names, as all must that anyone else is to read."""
    assert len(dict(members)) == len(members), f"a name occurs twice: {members}"
    return dict(members)
