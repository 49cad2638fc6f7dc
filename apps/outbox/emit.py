"""Writing events, in the same transaction as the change they tell of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.core import clock, sql
from apps.outbox import drainer
from apps.outbox.models import CONTROL
from broadcast.contracts import events


@dataclass(frozen=True, slots=True)
class Draft:
    """An event before it has a seq. ``operation_id``: the client's name of the operation that led to it."""

    type: str
    topic: str
    operation_id: str
    data: Mapping[str, Any]


def emit(drafts: Sequence[Draft], *, now: datetime) -> list[int]:
    """
    Give each draft the next seq of its topic and write it; returns the seqs in the same order.

    Call it once, as the last act before the commit: the topics' rows stay locked until then, which is what makes the
    order of seq the order of commits. Delivery begins after the commit.
    """
    if not drafts:
        return []
    seqs = _number(drafts, _take_seqs(Counter(draft.topic for draft in drafts), now))
    rows = [_row(draft, seq, now) for draft, seq in zip(drafts, seqs, strict=True)]
    _insert(rows, now)
    touched = {draft.topic for draft in drafts}
    transaction.on_commit(lambda: drainer.wake(touched))
    return seqs


def revoke_access(*, user_id: str, topic: str | None) -> Draft:
    """
    Make the message that withdraws a user's access to a topic; None: to everything.

    Tickets from before this moment no longer grant it. Call it after the rows that grant access are locked or gone.
    """
    before = clock.to_ms(clock.now())
    message = {"type": events.ACCESS_REVOKED, "userId": user_id, "topic": topic, "before": before}
    return Draft(events.ACCESS_REVOKED, f"{CONTROL}{user_id}", "", message)


def _take_seqs(counts: Mapping[str, int], now: datetime) -> dict[str, int]:
    """Take as many seqs of each topic as it needs; returns each topic's last one. Locks topics in order of name."""
    names = sorted(counts)
    taken = sql.rows(_TAKE_SEQS, [now, names, [counts[name] for name in names]])
    last_seqs: dict[str, int] = dict(taken)
    new = [name for name in names if last_seqs[name] == counts[name]]
    if new:
        sql.execute(_MAKE_CURSORS, [new])
    return last_seqs


def _number(drafts: Sequence[Draft], last_seqs: Mapping[str, int]) -> list[int]:
    left = Counter(draft.topic for draft in drafts)
    seqs = []
    for draft in drafts:
        left[draft.topic] -= 1
        seqs.append(last_seqs[draft.topic] - left[draft.topic])
    return seqs


def _row(draft: Draft, seq: int, now: datetime) -> tuple[str, int, str, str, str]:
    return draft.topic, seq, draft.type, draft.operation_id, encode(draft, seq, now).decode()


def encode(draft: Draft, seq: int, now: datetime) -> bytes:
    """Encode a draft as it is sent. One over the limit loses its longest list or text and says ``truncated``."""
    if draft.topic.startswith(CONTROL):
        return events.encode(draft.data)
    data = dict(draft.data)
    while True:
        body = events.encode(
            events.envelope(
                type_=draft.type,
                topic=draft.topic,
                operation_id=draft.operation_id or None,
                seq=seq,
                timestamp=clock.to_ms(now),
                data=data,
            )
        )
        if len(body) <= events.MAX_BYTES:
            return body
        longest = max(data, key=lambda name: len(events.encode({name: data[name]})))
        data = {name: value for name, value in data.items() if name != longest} | {"truncated": True}


def _insert(rows: Sequence[tuple[str, int, str, str, str]], now: datetime) -> None:
    sql.execute(_INSERT, [now, *sql.columns(rows)])


_TAKE_SEQS = """
    INSERT INTO outbox_topic AS topic (name, last_seq, touched_at)
    SELECT name, wanted, %s FROM unnest(%s::text[], %s::bigint[]) AS wish(name, wanted) ORDER BY name
    ON CONFLICT (name) DO UPDATE
    SET last_seq = topic.last_seq + excluded.last_seq, touched_at = excluded.touched_at
    RETURNING name, last_seq
"""
_MAKE_CURSORS = """
    INSERT INTO outbox_deliverycursor (topic, delivered_seq) SELECT unnest(%s::text[]), 0 ON CONFLICT DO NOTHING
"""
_INSERT = """
    INSERT INTO outbox_outboxevent (topic, seq, type, operation_id, body, created_at, withheld)
    SELECT topic, seq, type, operation_id, body, %s, ''
    FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[])
        AS event(topic, seq, type, operation_id, body)
"""
