"""
One topic in one process: its order, its gaps, and who listens.

No I/O. What comes in may be lost, doubled or out of order; what goes out to a listener is each seq once, in order,
or a `resync` that says otherwise.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Protocol

from broadcast.contracts import frames
from broadcast.parcel import Parcel
from broadcast.sending.turn import Audience, Hear, Receiver

Deliver = Callable[[Parcel], None]


class Listener(Protocol):
    """Whatever wants to hear a topic: a socket, a stream, a test."""

    def deliver(self, parcel: Parcel) -> None:
        """Take the next event. Must not wait; what it raises is counted and logged, and stops nobody else."""

    def resync(self, topic: str, seq: int, reason: str) -> None:
        """Events up to ``seq`` were missed and cannot be had; the next one is ``seq`` + 1."""


class Taken(Enum):
    """What became of an event that came in."""

    EMITTED = "emitted"
    DUPLICATE = "duplicate"
    STALE = "stale"
    """Progress after the completion it led to."""
    GAP = "gap"
    """Something before it is missing: kept, but the history has to be asked."""
    EARLY = "early"
    """Nobody's place in the topic is known yet; kept."""


class Subscription:
    """
    One listener's place in one topic.

    With an ``outlet`` its events are written there, together with others of the same turn of the loop; ``hear`` is told
    of all those of a turn at once; without either each is given to the listener. Until it is started, ``waiting``
    collects what is emitted meanwhile. ``position`` is the seq up to which the listener needs nothing; once it hears
    the topic live, the feed's own position counts.
    """

    __slots__ = ("feed", "hear", "listener", "missed", "outlet", "position", "waiting")

    def __init__(
        self, feed: "Feed", listener: Listener, outlet: Receiver | None = None, hear: Hear | None = None
    ) -> None:
        self.feed = feed
        self.listener = listener
        self.outlet = outlet
        self.hear = hear
        self.position = 0
        self.waiting: list[Parcel] | None = []
        self.missed = False


class Hearers:
    """Who hears an event, at one moment: an audience, and ``others``. Never changed once it is made."""

    __slots__ = ("audience", "others")

    def __init__(self, subscriptions: Iterable[Subscription]) -> None:
        outlets: list[Receiver] = []
        hear: list[Hear] = []
        others: list[Deliver] = []
        for subscription in subscriptions:
            if subscription.outlet is not None:
                outlets.append(subscription.outlet)
            elif subscription.hear is not None:
                hear.append(subscription.hear)
            else:
                others.append(subscription.listener.deliver)
        self.audience = Audience(outlets, hear)
        self.others = tuple(others)


Emit = Callable[[Parcel, Hearers], None]


class Feed:
    """
    A topic's events in order.

    ``last`` is the seq of the newest event emitted, None while nobody knows: a topic that the history does not know
    begins wherever its first listeners are, or with its first event where they say that they have seen more.
    ``newest`` is the highest seq known to exist.
    """

    def __init__(self, topic: str, *, emit: Emit, capacity: int) -> None:
        self.topic = topic
        self.last: int | None = None
        self.newest = 0
        self._emit_to = emit
        self._capacity = capacity
        self._catching_up: set[Subscription] = set()
        # In the order in which they came: the kernel has their sockets side by side, and to write to 10,000 of them in
        # any other order costs it a third more.
        self._held: dict[Subscription, None] = {}
        self._live: dict[Subscription, None] = {}
        self._hearers: Hearers | None = None
        self._ahead: dict[int, Parcel] = {}

    def __len__(self) -> int:
        return len(self._catching_up) + len(self._held) + len(self._live)

    @property
    def behind(self) -> bool:
        """True when an event is known to exist that was not emitted."""
        return self.last is not None and self.newest > self.last

    def add(self, listener: Listener, outlet: Receiver | None = None, hear: Hear | None = None) -> Subscription:
        """Let a listener in; it hears nothing before `start`, and misses nothing from now on."""
        subscription = Subscription(self, listener, outlet, hear)
        self._catching_up.add(subscription)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Let a listener go; without effect when it has gone."""
        self._catching_up.discard(subscription)
        self._held.pop(subscription, None)
        self._live.pop(subscription, None)
        self._hearers = None

    def settle(self, last: int) -> None:
        """Learn from the history that ``last`` is the topic's newest event."""
        self.newest = max(self.newest, last)
        if self.last is None:
            self.last = min([last, *(held.position for held in self._held)])
            self._promote()
            self._drain()

    def start(self, subscription: Subscription, position: int) -> None:
        """Hand over what was emitted after ``position`` while the listener was catching up; from now on it is live."""
        waiting = [parcel for parcel in subscription.waiting or () if (parcel.seq or 0) > position]
        subscription.waiting = None
        subscription.position = position
        self._catching_up.discard(subscription)
        self._held[subscription] = None
        self._hearers = None
        if subscription.missed or self._leaves_a_hole(position, waiting):
            self._resync(subscription, frames.HISTORY_LOST)
        else:
            alone = Hearers([subscription])
            for parcel in waiting:
                self._emit_to(parcel, alone)
        self._promote()
        self._drain()

    def take(self, parcel: Parcel) -> Taken:
        """Put an event in its place, and emit whatever is in order now."""
        seq = parcel.seq
        if seq is None:
            self._emit_to(parcel, self._all())
            return Taken.EMITTED
        self.newest = max(self.newest, seq)
        if self.last is None and not self._find_beginning(seq):
            return self._keep(parcel, Taken.EARLY)
        last = self.last or 0
        if seq <= last:
            return Taken.DUPLICATE
        if seq > last + 1:
            return self._keep(parcel, Taken.GAP)
        self._emit(parcel)
        self._drain()
        return Taken.EMITTED

    def mend(self, parcels: Iterable[Parcel], *, up_to: int) -> int:
        """
        Fill a gap with what the history holds; returns how many events it filled in.

        ``up_to``: the newest seq known to exist when the history was asked. What is missing below it is gone, and
        every listener is told to resync.
        """
        filled = sum(self.take(parcel) is Taken.EMITTED for parcel in parcels)
        self.newest = max(self.newest, up_to)
        if self.last is not None and self.last < up_to:
            self._skip_to(min([up_to, *(seq - 1 for seq in self._ahead)]))
            self._drain()
        return filled

    def lose(self) -> None:
        """Tell every listener that something may have been lost, and cannot be had."""
        if self.last is not None:
            self.last = max(self.last, self.newest)
        self._ahead.clear()
        for subscription in [*self._held, *self._live]:
            self._resync(subscription, frames.HISTORY_LOST)
        for subscription in self._catching_up:
            subscription.missed = True
        self._promote()

    def position(self, subscription: Subscription) -> int:
        """Tell up to which seq a listener has everything."""
        return max(self.last or 0, subscription.position)

    def _find_beginning(self, seq: int) -> bool:
        # Never above the event that came: a listener may say that it has seen more than there is.
        if self._held:
            self.last = min([seq - 1, *(held.position for held in self._held)])
            self._promote()
        return self.last is not None

    def _keep(self, parcel: Parcel, taken: Taken) -> Taken:
        # What does not fit is not lost: every event with a seq is in the history before it comes here.
        if len(self._ahead) < self._capacity:
            self._ahead[parcel.seq or 0] = parcel
        return taken

    def _drain(self) -> None:
        if self._ahead and (self.last is not None or self._find_beginning(min(self._ahead))):
            while (parcel := self._ahead.pop((self.last or 0) + 1, None)) is not None:
                self._emit(parcel)
            self._ahead = {seq: parcel for seq, parcel in self._ahead.items() if seq > (self.last or 0)}

    def _emit(self, parcel: Parcel) -> None:
        self.last = parcel.seq
        for subscription in self._catching_up:
            self._hold_back(parcel, subscription)
        self._emit_to(parcel, self._those_before(parcel.seq or 0))
        self._promote()

    def _hold_back(self, parcel: Parcel, subscription: Subscription) -> None:
        waiting = subscription.waiting
        if waiting is None or len(waiting) >= self._capacity:
            subscription.missed = True
        else:
            waiting.append(parcel)

    def _all(self) -> Hearers:
        # Made when it is needed, so that ten thousand who come at once cost one copy and not ten thousand.
        if self._hearers is None:
            self._hearers = Hearers([*self._live, *self._held])
        return self._hearers

    def _those_before(self, seq: int) -> Hearers:
        if all(held.position < seq for held in self._held):
            return self._all()
        return Hearers([*self._live, *(held for held in self._held if held.position < seq)])

    def _promote(self) -> None:
        if self._held and self.last is not None:
            ready = [s for s in self._held if s.position <= self.last]
            for subscription in ready:
                del self._held[subscription]
            self._live.update(dict.fromkeys(ready))

    def _leaves_a_hole(self, position: int, waiting: Sequence[Parcel]) -> bool:
        # Only where a topic began in memory, without the history: elsewhere a replay reaches what was emitted.
        begins = waiting[0].seq if waiting else (self.last or 0) + 1
        return self.last is not None and self.last > position and begins != position + 1

    def _skip_to(self, seq: int) -> None:
        self.last = seq
        for subscription in [*self._live, *(s for s in self._held if s.position < seq)]:
            self._resync(subscription, frames.HISTORY_LOST)
        for subscription in self._catching_up:
            subscription.missed = True
        self._promote()

    def _resync(self, subscription: Subscription, reason: str) -> None:
        subscription.position = self.position(subscription)
        subscription.listener.resync(self.topic, subscription.position, reason)
