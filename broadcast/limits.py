"""Limits: how much of this process one client, user or address may have. No I/O, no clock: times are given in ms."""

from dataclasses import dataclass
from typing import Final

_SWEPT_EVERY: Final = 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """
    How often something may happen: ``burst`` times at once, and ``per_second`` in the long run.

    The generic cell rate algorithm (ITU-T I.371): all it keeps of somebody is one number, when their allowance will be
    whole again; 0 at first.
    """

    per_second: float
    burst: int

    def next(self, whole_at_ms: float, now_ms: float) -> float | None:
        """Take one: gives when the allowance will be whole again; None: nothing was left of it."""
        began = max(whole_at_ms, now_ms)
        whole_at_ms = began + 1000 / self.per_second
        return None if whole_at_ms - now_ms > self.burst * 1000 / self.per_second + 0.5 else whole_at_ms

    def wait_ms(self, whole_at_ms: float, now_ms: float) -> int:
        """Tell how long it takes until one may be taken again."""
        return max(0, int(whole_at_ms - now_ms - (self.burst - 1) * 1000 / self.per_second) + 1)


class Turnstile:
    """
    Counts who is inside, and how fast they come, by any key: a user, an address.

    ``at_most`` may be inside at once; they may come at the given pace. Keys that are not inside are forgotten when
    their allowance is whole again.
    """

    def __init__(self, *, at_most: int, per_second: float) -> None:
        self._at_most = at_most
        self._pace = Pace(per_second, at_most)
        self._inside: dict[str, int] = {}
        self._whole_at_ms: dict[str, float] = {}
        self._until_sweep = _SWEPT_EVERY

    def __len__(self) -> int:
        return len(self._inside.keys() | self._whole_at_ms.keys())

    def enter(self, key: str, now_ms: float) -> "Refused | None":
        """Let one in; or say why not, and nobody was counted."""
        inside = self._inside.get(key, 0)
        if inside >= self._at_most:
            return Refused("connections", 0)
        whole_at_ms = self._whole_at_ms.get(key, 0)
        taken = self._pace.next(whole_at_ms, now_ms)
        if taken is None:
            return Refused("connects", self._pace.wait_ms(whole_at_ms, now_ms))
        self._inside[key] = inside + 1
        self._whole_at_ms[key] = taken
        self._forget_now_and_then(now_ms)
        return None

    def leave(self, key: str) -> None:
        """Let one out who was let in."""
        inside = self._inside[key] - 1
        if inside:
            self._inside[key] = inside
        else:
            del self._inside[key]

    def _forget_now_and_then(self, now_ms: float) -> None:
        self._until_sweep -= 1
        if not self._until_sweep:
            self._whole_at_ms = {key: at for key, at in self._whole_at_ms.items() if at > now_ms}
            self._until_sweep = max(_SWEPT_EVERY, len(self._whole_at_ms))


@dataclass(frozen=True, slots=True)
class Refused:
    """Why somebody may not come in: too many ``connections``, or too many ``connects`` of late."""

    reason: str
    wait_ms: int
