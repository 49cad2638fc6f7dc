"""
Carrying events to the broadcast service: one way for the fast path and for recovery.

A topic is delivered by whoever holds the lease on its cursor. Claiming and settling are single statements; nothing is
locked while the POST is under way.
"""

import logging
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from apps.core import sql
from apps.outbox.bridge import Bridge, BridgeAway, Gaps, Outgoing, Refused
from apps.outbox.models import CONTROL, OutboxEvent
from broadcast.contracts import bridge as contract
from broadcast.contracts import events, topics

log = logging.getLogger(__name__)

LEASE_SECONDS = 5
_EVENTS_PER_TOPIC = 500
_BATCH_BYTES = contract.MAX_BODY_BYTES * 3 // 4


class Row(NamedTuple):
    """An undelivered event. ``body`` is what is to be sent."""

    topic: str
    seq: int
    body: str
    withheld: str


def in_order(row: Row) -> tuple[str, int]:
    """Sort rows as they are posted: what a course hears comes before the end that only a user hears."""
    return row.topic, row.seq


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease on some topics' cursors, and what each has yet to deliver, in order."""

    token: uuid.UUID | None
    delivered: dict[str, int]
    rows: list[Row]


def deliver(names: Collection[str], bridge: Bridge) -> set[str]:
    """
    Deliver what the topics have to deliver, as far as one batch goes; returns those that have more.

    A topic that someone else is delivering is left to them: they look again after releasing it.

    Raises:
        bridge.BridgeAway: the broadcast service took nothing; all is as it was.
    """
    claim = _claim(names)
    reached: dict[str, int] = {}
    try:
        if claim.rows:
            reached = post(claim, bridge)
    finally:
        more = settle(claim, reached)
    return more


def post(claim: Claim, bridge: Bridge) -> dict[str, int]:
    """
    Post the claimed rows as one batch; returns how far each topic got, for those that moved.

    Raises:
        bridge.BridgeAway: the broadcast service took nothing.
    """
    rows = _fill_gaps(claim)
    sent = [row for row in rows if not (row.withheld and row.topic.startswith(CONTROL))]
    try:
        if sent:
            bridge.post([_outgoing(row) for row in sent])
    except Gaps as gaps:
        return _moved_back(gaps, claim)
    except Refused as refusal:
        return _withhold_or_split(sent, refusal, claim, bridge)
    return {row.topic: row.seq for row in rows}


def _moved_back(gaps: Gaps, claim: Claim) -> dict[str, int]:
    """Say where the topics have to begin again; a gap that does not lie behind what was delivered cannot be one."""
    log.warning("The broadcast service lacks earlier events.", extra={"expected": gaps.expected})
    back = {topic: seq - 1 for topic, seq in gaps.expected.items() if 0 < seq <= claim.delivered.get(topic, 0)}
    if not back:
        raise BridgeAway(f"It expects what cannot be: {gaps.expected}")
    return back


def _withhold_or_split(rows: Sequence[Row], refusal: Refused, claim: Claim, bridge: Bridge) -> dict[str, int]:
    """Mark the event that was refused; the next round posts its stand-in. With no index, find it by posting each."""
    if refusal.index is not None and refusal.index < len(rows):
        _withhold(rows[refusal.index], refusal.reason)
        return {}
    return _post_singly(rows, claim, bridge)


def _post_singly(rows: Sequence[Row], claim: Claim, bridge: Bridge) -> dict[str, int]:
    """Post one by one what was refused as a batch; a topic stops at its first event that is not taken."""
    reached: dict[str, int] = {}
    stopped: set[str] = set()
    for row in rows:
        if row.topic in stopped:
            continue
        try:
            bridge.post([_outgoing(row)])
            reached[row.topic] = row.seq
        except Refused as refusal:
            _withhold(row, refusal.reason)
            stopped.add(row.topic)
        except Gaps as gaps:
            reached |= _moved_back(gaps, claim)
            stopped.add(row.topic)
    return reached


def _withhold(row: Row, reason: str) -> None:
    if row.withheld:
        raise BridgeAway(f"It refuses the stand-in of {row.topic} {row.seq}: {reason}")
    log.error("An event had to be withheld.", extra={"topic": row.topic, "seq": row.seq, "reason": reason})
    OutboxEvent.objects.filter(topic=row.topic, seq=row.seq).update(withheld=reason or "refused")


def _outgoing(row: Row) -> Outgoing:
    if row.topic.startswith(CONTROL):
        return Outgoing(None, row.body)
    return Outgoing(row.topic, as_sent(row))


def as_sent(row: Row | OutboxEvent) -> str:
    """Give an event as clients get it: encoded, and its stand-in where it had to be withheld."""
    return _stand_in(row) if row.withheld else row.body


def _stand_in(row: Row | OutboxEvent) -> str:
    original = events.decode(row.body) if row.body else {}
    kind, id_ = topics.parse(row.topic)
    envelope: events.Event = {"type": events.WITHHELD, topics.ENVELOPE_KEYS[kind]: id_}
    if "operationId" in original:
        envelope["operationId"] = original["operationId"]
    envelope |= {"seq": row.seq, "timestamp": original.get("timestamp", 0), "data": {}}
    return events.encode(envelope).decode()


def _fill_gaps(claim: Claim) -> list[Row]:
    """Stand in for events that are no longer kept, should the broadcast service have asked for them again."""
    reached = dict(claim.delivered)
    filled: list[Row] = []
    for row in claim.rows:
        if not row.topic.startswith(CONTROL):
            missing = range(reached[row.topic] + 1, min(row.seq, reached[row.topic] + 1 + contract.MAX_EVENTS))
            filled.extend(Row(row.topic, seq, "", "no longer kept") for seq in missing)
        filled.append(row)
        reached[row.topic] = row.seq
    return filled[: contract.MAX_EVENTS]


def _claim(names: Collection[str]) -> Claim:
    token = uuid.uuid4()
    delivered: dict[str, int] = {}
    found: list[Row] = []
    for topic, delivered_seq, seq, body, withheld in sql.rows(
        _CLAIM, [token, LEASE_SECONDS, sorted(names), _EVENTS_PER_TOPIC, len(names) + contract.MAX_EVENTS]
    ):
        delivered[topic] = delivered_seq
        if seq is not None:
            found.append(Row(topic, seq, body, withheld))
    rows = sorted(found[: contract.MAX_EVENTS], key=in_order)
    return Claim(token, delivered, list(_within_bytes(rows)))


def _within_bytes(rows: Iterable[Row]) -> Iterable[Row]:
    total = 0
    for row in rows:
        total += len(row.body.encode()) + len(row.topic) + 16
        if total > _BATCH_BYTES:
            return
        yield row


def settle(claim: Claim, reached: dict[str, int]) -> set[str]:
    """
    Move the claimed topics' cursors and release them; returns those that have more to deliver by now.

    A cursor whose lease ran out meanwhile is no longer ours to move.
    """
    if not claim.delivered:
        return set()
    moved = claim.delivered | reached
    sql.execute(_SETTLE, [list(moved), list(moved.values()), claim.token])
    # Looking before releasing would lose what was committed in between.
    return {row[0] for row in sql.rows(_HAVING_MORE, [list(moved)])}


# Rows that are being claimed or settled by someone else are skipped, never waited for: two drains cannot deadlock.
# Every claimed topic has a row, and its oldest event comes before any topic's second: none is claimed and forgotten.
# What was committed after this statement began is not seen by it, but by `_HAVING_MORE` after the release.
_CLAIM = """
    WITH claimed AS (
        UPDATE outbox_deliverycursor
        SET lease_token = %s, lease_expires_at = now() + %s * interval '1 second'
        WHERE topic IN (
            SELECT topic FROM outbox_deliverycursor
            WHERE topic = ANY(%b) AND (lease_expires_at IS NULL OR lease_expires_at < now())
            ORDER BY topic FOR UPDATE SKIP LOCKED
        )
        RETURNING topic, delivered_seq
    )
    SELECT claimed.topic, delivered_seq, event.seq, event.body, event.withheld
    FROM claimed LEFT JOIN LATERAL (
        SELECT seq, body, withheld, row_number() OVER (ORDER BY seq) AS place FROM outbox_outboxevent
        WHERE topic = claimed.topic AND seq > claimed.delivered_seq ORDER BY seq LIMIT %s
    ) event ON true
    ORDER BY place NULLS FIRST LIMIT %s
"""
_SETTLE = """
    UPDATE outbox_deliverycursor cursor
    SET delivered_seq = reached.seq, lease_token = NULL, lease_expires_at = NULL
    FROM unnest(%b::text[], %b::bigint[]) AS reached(topic, seq)
    WHERE cursor.topic = reached.topic AND cursor.lease_token = %s
"""
_HAVING_MORE = """
    SELECT topic.name FROM outbox_topic topic JOIN outbox_deliverycursor cursor ON cursor.topic = topic.name
    WHERE topic.name = ANY(%b) AND topic.last_seq > cursor.delivered_seq
"""
