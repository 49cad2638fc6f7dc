"""Who is connected to this process."""

from collections.abc import Iterable, Mapping
from itertools import cycle
from typing import Protocol

from broadcast.limits import Refused, Turnstile
from broadcast.revocations import Revocation


class Client(Protocol):
    """One connection, as the service sees it."""

    @property
    def user_id(self) -> str:
        """Whose it is."""

    @property
    def topics(self) -> Iterable[str]:
        """What it hears."""

    def beat(self, checked: Mapping[str, int]) -> None:
        """Send a heartbeat; ``checked``: topics that were compared with the history."""

    def withdraw(self, revocation: Revocation) -> None:
        """Take back what it may no longer hear."""

    def send_away(self, retry_after_ms: int) -> None:
        """Close: this process ends."""


class Clients:
    """
    All connections: by user, and in ``slots`` of about equal size, so that heartbeats spread over time.
    """

    def __init__(self, *, per_user: int, slots: int, per_second: float = 1000) -> None:
        self._users = Turnstile(at_most=per_user, per_second=per_second)
        self._by_user: dict[str, set[Client]] = {}
        self._slots: list[dict[Client, None]] = [{} for _ in range(slots)]
        self._slot_of: dict[Client, int] = {}
        self._next_slot = cycle(range(slots))

    def __len__(self) -> int:
        return len(self._slot_of)

    def add(self, client: Client, now_ms: float) -> Refused | None:
        """Let a connection in; or say why not: its user has too many, or opened too many of late."""
        if (refused := self._users.enter(client.user_id, now_ms)) is not None:
            return refused
        self._by_user.setdefault(client.user_id, set()).add(client)
        slot = self._slot_of[client] = next(self._next_slot)
        self._slots[slot][client] = None
        return None

    def remove(self, client: Client) -> None:
        """Let a connection go; without effect when it has gone."""
        slot = self._slot_of.pop(client, None)
        if slot is None:
            return
        del self._slots[slot][client]
        self._users.leave(client.user_id)
        of_user = self._by_user[client.user_id]
        of_user.discard(client)
        if not of_user:
            del self._by_user[client.user_id]

    def all(self) -> list[Client]:
        """List all connections."""
        return list(self._slot_of)

    def of_user(self, user_id: str) -> list[Client]:
        """List a user's connections."""
        return list(self._by_user.get(user_id, ()))

    def in_slot(self, slot: int) -> list[Client]:
        """List the connections of one slot."""
        return list(self._slots[slot])
