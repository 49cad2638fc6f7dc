"""What a client that says where it stopped gets: the decision, without I/O."""

from dataclasses import dataclass, field, replace
from functools import cached_property

from broadcast.contracts import frames
from broadcast.parcel import text_frame


class Bodies(list[bytes]):
    """Encoded events that are replayed together, to however many clients; not to be changed."""

    @cached_property
    def wire(self) -> bytes:
        """All of them as WebSocket frames."""
        return b"".join(map(text_frame, self))


@dataclass(frozen=True, slots=True)
class Retained:
    """
    What the history knows of a topic at one moment.

    ``epoch_ms``: when this history began. ``last``: the newest seq, None when the topic is not known. ``length``: how
    many events up to ``last`` are kept. ``bodies``: those after the seq that was asked for, if they may be replayed.
    ``is_trimmed``: there were older ones, given up for room.
    """

    epoch_ms: int
    last: int | None
    length: int = 0
    bodies: Bodies = field(default_factory=Bodies)
    is_trimmed: bool = False

    def after(self, since: int) -> "Retained":
        """Tell the same to somebody who has seen more."""
        missed = max((self.last or 0) - since, 0)
        return replace(self, bodies=Bodies(self.bodies[len(self.bodies) - missed :]))


@dataclass(frozen=True, slots=True)
class Request:
    """
    What a client asks for, and what is known of it.

    ``since``: the last seq it saw, None for "from now". ``granted_seq`` and ``granted_at_ms``: the topic's newest seq
    when the ticket was made, and when that was. ``resynced``: it was told to refetch already, on this
    connection and by this history.
    ``emitted``: the newest seq that this process has sent to others, 0 if none.
    """

    since: int | None
    granted_seq: int
    granted_at_ms: int
    resynced: bool = False
    emitted: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """How many events one resume may replay, and how many the history keeps of a topic."""

    replay: int
    kept: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """The subscription is complete up to ``seq``; ``bodies`` are the events from since+1 to ``seq``."""

    seq: int
    recovered: bool | None
    bodies: Bodies = field(default_factory=Bodies)


@dataclass(frozen=True, slots=True)
class Refetch:
    """Something is missing; the subscription is live after ``seq``."""

    seq: int
    reason: str


Outcome = Resumed | Refetch


def decide(request: Request, retained: Retained, limits: Limits) -> Outcome:
    """
    Decide how a subscription begins.

    A client that obeys its rule (outline at N, subscribe since N, on `Refetch` again) gets `Refetch` at most once:
    after it has refetched, what it says it has seen is believed.
    """
    if retained.last is None:
        return _resume_unknown(request, retained)
    if request.since is None:
        return Resumed(retained.last, recovered=None)
    return _resume_known(request, request.since, retained, retained.last, limits)


def _resume_known(request: Request, since: int, retained: Retained, last: int, limits: Limits) -> Outcome:
    if since > last:
        # Committed and seen in an outline, but not delivered yet: what comes up to `since` is skipped.
        believed = since <= request.granted_seq or request.resynced
        return Resumed(since, recovered=True) if believed else Refetch(last, frames.AHEAD)
    if since < last - retained.length:
        trimmed = retained.is_trimmed or retained.length >= limits.kept
        return Refetch(last, frames.TOO_FAR if trimmed else frames.HISTORY_LOST)
    if last - since > min(limits.replay, len(retained.bodies)):
        return Refetch(last, frames.TOO_FAR)
    return Resumed(last, recovered=True, bodies=retained.bodies)


def _resume_unknown(request: Request, retained: Retained) -> Outcome:
    since, granted = request.since, request.granted_seq
    if since is None:
        return Resumed(max(granted, request.emitted), recovered=None)
    # A ticket from before this history began cannot tell whether events were lost between the two.
    trusted = request.granted_at_ms > retained.epoch_ms
    if since == granted and (trusted or request.resynced):
        return Resumed(since, recovered=True)
    if since > granted:
        return Resumed(since, recovered=True) if request.resynced else Refetch(granted, frames.AHEAD)
    return Refetch(granted, frames.HISTORY_LOST)
