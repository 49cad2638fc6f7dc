"""
The events of one turn of the event loop, joined: whatever a client is to get goes out in one write.

That it is so shows nowhere but in the number of writes: whoever writes to a client himself, or needs to know that
events are out, calls `Turn.flush` first.
"""

import asyncio
import logging
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from broadcast.parcel import Parcel
from broadcast.sending.lines import Lines
from broadcast.sending.loops import PythonLoop, SendLoop

log = logging.getLogger(__name__)

_MOST_BYTES: Final = 256 * 1024
"""When so much waits for the end of the turn, it goes out at once: joined enough, and it is copied once more."""

Work = Callable[[], None]


class Receiver(Protocol):
    """One client, as a turn sees it."""

    line: int

    def take(self, parcels: Sequence[Parcel], sent: int) -> None:
        """Take over what the send loop could not write of these parcels, which begins after ``sent`` bytes."""


class Writer(Protocol):
    """One client to whom something is to be written that is for nobody else."""

    def put(self, data: bytes) -> None:
        """Send whole frames, now."""


class Audience:
    """
    Clients that hear the same: their lines, side by side with themselves, and those who ``hear`` all of a turn at once
    and write it themselves; ``size``: how many all are. Never changed once it is made.
    """

    __slots__ = ("hear", "lines", "receivers", "size")

    def __init__(self, receivers: Iterable[Receiver], hear: "Iterable[Hear]" = ()) -> None:
        self.receivers = tuple(receivers)
        # That the receivers are held, too, keeps their lines from being given to anybody else.
        self.lines = array("i", [receiver.line for receiver in self.receivers])
        self.hear = tuple(hear)
        self.size = len(self.receivers) + len(self.hear)


class Written:
    """
    Events of one topic that went out together.

    ``others``: deliveries of these events to listeners that have no line. ``failed``: how many deliveries raised, of
    all; ``seconds``: how long all took. ``endings``: what event streams have in common of these events; None: progress
    is among them.
    """

    __slots__ = ("audience", "endings", "failed", "others", "parcels", "seconds")

    def __init__(self, audience: Audience) -> None:
        self.audience = audience
        self.parcels: list[Parcel] = []
        self.others = 0
        self.failed = 0
        self.seconds = 0.0
        self.endings: list[bytes] | None = None

    @property
    def deliveries(self) -> int:
        """How often these events were given to somebody, failures included."""
        return len(self.parcels) * self.audience.size + self.others

    @property
    def data(self) -> bytes:
        """What each of the audience gets."""
        return self.parcels[0].wire if len(self.parcels) == 1 else b"".join([parcel.wire for parcel in self.parcels])


Hear = Callable[[Written], None]
"""Takes the events of one topic that go out together. Must not wait; what it raises is counted, and stops nobody."""


def _call_soon(work: Work) -> None:
    asyncio.get_running_loop().call_soon(work)


class Turn:
    """
    Collects events until the present turn of the event loop is over, and writes them.

    ``on_written`` is told what went out together. ``call_soon`` is asked to call `flush` when the turn is over.
    """

    def __init__(self, loop: SendLoop | None = None, *, call_soon: Callable[[Work], None] = _call_soon) -> None:
        self.lines = Lines()
        self.loop = loop or PythonLoop()
        self.on_written: Callable[[Sequence[Written]], None] = lambda _: None
        self._call_soon = call_soon
        self._parts: list[Written] = []
        self._newest: dict[str, Written] = {}
        self._alone: dict[Writer, list[bytes]] = {}
        self._bytes = 0

    def add(self, parcel: Parcel, audience: Audience, *, others: int = 0, failed: int = 0, seconds: float = 0) -> None:
        """
        Have an event written to an audience when this turn is over, after whatever its topic has had before.

        The rest is added to what `Written` says: what became of the event elsewhere.
        """
        self._begin()
        part = self._newest.get(parcel.topic)
        if part is None or part.audience is not audience:
            part = self._newest[parcel.topic] = Written(audience)
            self._parts.append(part)
        part.parcels.append(parcel)
        if others:
            part.others += others
            part.failed += failed
            part.seconds += seconds
        self._count(parcel.wire)

    def add_alone(self, frame: bytes, writer: Writer) -> None:
        """Have a frame written to one client when this turn is over, after every event that was added before."""
        if self._parts:
            self.flush()
        self._begin()
        self._alone.setdefault(writer, []).append(frame)
        self._count(frame)

    def has_for(self, writer: Writer) -> bool:
        """Tell whether a frame for this client alone waits for the end of the turn."""
        return writer in self._alone

    def flush(self) -> None:
        """Write what was collected; without effect when that is nothing."""
        alone, self._alone = self._alone, {}
        parts, self._parts, self._newest, self._bytes = self._parts, [], {}, 0
        for writer, frames in alone.items():
            self._write_alone(writer, frames)
        if parts:
            self._write(parts)

    def _begin(self) -> None:
        if not (self._parts or self._alone):
            self._call_soon(self.flush)

    def _count(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > _MOST_BYTES:
            self.flush()

    def _write_alone(self, writer: Writer, frames: list[bytes]) -> None:
        try:
            writer.put(frames[0] if len(frames) == 1 else b"".join(frames))
        except Exception:
            log.exception("A client failed")

    def _write(self, parts: list[Written]) -> None:
        started = time.perf_counter()
        direct = [part for part in parts if part.audience.lines]
        if direct:
            for number, place, sent in self.loop.send([(p.audience.lines, p.data) for p in direct], self.lines.sockets):
                self._hand_over(direct[number], place, sent)
        for part in parts:
            if part.audience.hear:
                self._tell(part)
        each = (time.perf_counter() - started) / sum([part.audience.size for part in parts])
        for part in parts:
            part.seconds += each * part.audience.size
        self.on_written(parts)

    def _tell(self, part: Written) -> None:
        if all(parcel.seq is not None for parcel in part.parcels):
            part.endings = [parcel.ending for parcel in part.parcels]
        for hear in part.audience.hear:
            try:
                hear(part)
            except Exception:
                part.failed += len(part.parcels)
                log.exception("A client failed", extra={"topic": part.parcels[0].topic})

    def _hand_over(self, part: Written, place: int, sent: int) -> None:
        try:
            part.audience.receivers[place].take(part.parcels, sent)
        except Exception:
            part.failed += len(part.parcels)
            log.exception("A client failed", extra={"topic": part.parcels[0].topic})
