"""The end: everything delivered, every account equal to the database, memory flat; and the report that says so."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from benchmarks.soak import memory
from benchmarks.soak.chaos import SPARED, Chaos
from benchmarks.soak.ledger import Ledger, fingerprint
from benchmarks.soak.watchers import Tally
from benchmarks.soak.world import Saver
from broadcast.contracts import events
from coursehub.stack.stack import Stack

_QUIET = """
    SELECT (SELECT count(*) FROM operations_operation WHERE finished_at IS NULL),
           (SELECT count(*) FROM outbox_topic t LEFT JOIN outbox_deliverycursor c ON c.topic = t.name
            WHERE coalesce(c.delivered_seq, 0) < t.last_seq)
"""
_MOST_SHOWN = 20


class Truth:
    """What the database says."""

    def __init__(self, stack: Stack) -> None:
        self._url = stack.env["DATABASE_URL"]

    def wait_until_quiet(self, seconds: float) -> list[str]:
        """Wait until every operation has ended and every event is delivered; returns what is left when time is over."""
        deadline = time.monotonic() + seconds
        while True:
            (operations, topics) = self._ask(_QUIET)[0]
            if not operations and not topics:
                return []
            if time.monotonic() > deadline:
                return [f"{operations} operations have not ended, {topics} topics are not delivered to their end"]
            time.sleep(0.2)

    def committed(self) -> dict[str, list[int]]:
        """Give the fingerprints of all durable events, by topic and in the order of seq."""
        found: dict[str, list[int]] = {}
        for topic, body in self._ask("SELECT topic, body FROM outbox_outboxevent ORDER BY topic, seq"):
            found.setdefault(topic, []).append(fingerprint(events.decode(body)))
        return found

    def _ask(self, sql: str) -> list[Any]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            return connection.execute(sql).fetchall()


@dataclass(slots=True)
class Verdict:
    """``failures``: why the soak did not pass."""

    seconds: float
    committed: int
    savers: Sequence[Saver]
    ledgers: Sequence[Ledger]
    tally: Tally
    chaos: Chaos
    memory: dict[str, memory.Course | None]
    failures: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Write the report."""
        seen = sum(len(account) for ledger in self.ledgers for account in ledger.seen.values())
        lines = [
            f"{self.seconds:.0f} s. **{'Failed' if self.failures else 'Passed'}.**",
            "",
            f"- {sum(saver.taken for saver in self.savers):,} requests to save taken, "
            f"{sum(saver.refused for saver in self.savers):,} refused, "
            f"{sum(saver.unanswered for saver in self.savers):,} without an answer.",
            f"- {self.committed:,} durable events committed. {len(self.ledgers):,} clients account for {seen:,} "
            f"deliveries of them; {self._sum('refetched'):,} of these were fetched over REST after "
            f"{self._sum('resyncs'):,} resyncs.",
            f"- {self.tally.connected:,} connections, {self._sum('subscriptions'):,} resumed subscriptions, "
            f"{self.tally.frames:,} frames.",
            f"- Closed by the server: {_listed(self.tally.closed)}.",
            f"- Meanwhile: {_listed(self.chaos.done)}.",
            "",
            "| memory (PSS) | settled | at the end | most | |",
            "|---|---:|---:|---:|---|",
            *(self._row(name, course) for name, course in self.memory.items()),
        ]
        if self.failures:
            shown = self.failures[:_MOST_SHOWN]
            lines += ["", f"### {len(self.failures)} failures", "", *(f"- {failure}" for failure in shown)]
        return "\n".join(lines) + "\n"

    def _sum(self, name: str) -> int:
        return sum(getattr(ledger, name) for ledger in self.ledgers)

    def _row(self, name: str, course: memory.Course | None) -> str:
        if course is None:
            return f"| {name} | | | | too few looks |"
        remark = ("flat" if course.is_flat else "grew") if name == SPARED else ""
        figures = (course.settled_bytes, course.last_bytes, course.most_bytes)
        return f"| {name} | " + " | ".join(f"{value / 1e6:.1f} MB" for value in figures) + f" | {remark} |"


def failures_of(
    ledgers: Sequence[Ledger], committed: dict[str, list[int]], looked: dict[str, memory.Course | None], chaos: Chaos
) -> list[str]:
    """Find everything that is not as it should be."""
    found = [breach for ledger in ledgers for breach in ledger.breaches]
    found += [difference for ledger in ledgers for difference in ledger.differences(committed)]
    spared = looked.get(SPARED)
    if spared is not None and not spared.is_flat:
        found.append(f"{SPARED} grew from {spared.settled_bytes / 1e6:.1f} to {spared.last_bytes / 1e6:.1f} MB")
    return [*found, *chaos.failed]


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,} ×" for name, count in sorted(counts.items())) or "nothing"
