"""Writing events, in the same transaction as the change they tell of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.core import clock, sql
from apps.outbox import drainer
from apps.outbox.delivery import LEASE_SECONDS, Claim, Row, in_order
from apps.outbox.models import CONTROL
from broadcast.contracts import events

_NO_LONGER_SEQ = 2**63 - 1
"""Stands for a seq that is not known yet; no seq has more digits."""
_POSTED_AT_ONCE = 50
"""
So few events are posted by whoever commits them, and fit into one POST however large; more are the drainer's.
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event before it has a seq. ``operation_id``: the client's name of the operation that led to it."""

    type: str
    topic: str
    operation_id: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Also:
    """
    A statement to be run as one with that which writes the events, which spares a round trip.

    It may ask ``event (place, seq)`` which seq the draft at a place has got; the first place is 1.
    """

    sql: str
    values: Sequence[Any]


def emit(drafts: Sequence[Draft], *, now: datetime, also: Also | None = None) -> list[int]:
    """
    Give each draft the next seq of its topic and write it; returns the seqs in the same order.

    Call it once, as the last act before the commit: the topics' rows stay locked until then, which is what makes the
    order of seq the order of commits. Delivery begins after the commit. ``also`` is run even if there are no drafts.
    """
    if not drafts:
        if also:
            sql.execute(_NO_EVENTS + also.sql, also.values)
        return []
    written = [(draft.topic, draft.type, draft.operation_id, *encode(draft, now)) for draft in drafts]
    token = drainer.lease() if len(written) <= _POSTED_AT_ONCE else None
    statement = _EMIT.format(also=f", also AS ({also.sql})" if also else "")
    values = [now, *sql.columns(written), token, LEASE_SECONDS, *(also.values if also else ())]
    placed = sql.rows(statement, values)
    claim = Claim(token, {}, [])
    for (topic, _, _, before, after), (seq, is_leased) in zip(written, placed, strict=True):
        if is_leased:
            claim.delivered.setdefault(topic, seq - 1)
            claim.rows.append(Row(topic, seq, before if after is None else f"{before}{seq}{after}", ""))
    claim.rows.sort(key=in_order)
    left = {draft.topic for draft in drafts} - claim.delivered.keys()
    transaction.on_commit(lambda: drainer.deliver(claim, left))
    return [seq for seq, _ in placed]


def revoke_access(*, user_id: str, topic: str | None) -> Draft:
    """
    Make the message that withdraws a user's access to a topic; None: to everything.

    Tickets from before this moment no longer grant it. Call it after the rows that grant access are locked or gone.
    """
    before = clock.to_ms(clock.now_of_database())
    message = {"type": events.ACCESS_REVOKED, "userId": user_id, "topic": topic, "before": before}
    return Draft(events.ACCESS_REVOKED, f"{CONTROL}{user_id}", "", message)


def encode(draft: Draft, now: datetime) -> tuple[str, str | None]:
    """
    Encode a draft as it is sent, but for its seq: what stands before and what after it; None: it has no seq.

    One that could be over the limit loses its longest list or text, in an object of its data too, and says
    ``truncated``.
    """
    if draft.topic.startswith(CONTROL):
        return events.encode(draft.data).decode(), None
    data = dict(draft.data)
    while True:
        body = events.encode(
            events.envelope(
                type_=draft.type,
                topic=draft.topic,
                operation_id=draft.operation_id or None,
                seq=_NO_LONGER_SEQ,
                timestamp=clock.to_ms(now),
                data=data,
            )
        )
        if len(body) <= events.MAX_BYTES:
            # The first one is the envelope's: the data comes after it, and nothing before it may hold a quote.
            before, _, after = body.decode().partition(f'"seq":{_NO_LONGER_SEQ}')
            return before + '"seq":', after
        data = _without_longest(data) | {"truncated": True}


def _without_longest(data: Mapping[str, Any]) -> dict[str, Any]:
    longest = max(data, key=lambda name: len(events.encode({name: data[name]})))
    inner = data[longest]
    rest = {name: value for name, value in data.items() if name != longest}
    return rest | {longest: _without_longest(inner)} if isinstance(inner, Mapping) and inner else rest


# All in one statement: numbers are taken, put into the events, and the events written. On the way topics are leased
# that nobody is delivering, and of which everything before is delivered.
_EMIT = """
    WITH draft AS MATERIALIZED (
        SELECT %s::timestamptz AS at, * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[])
            WITH ORDINALITY AS draft(topic, type, operation_id, before, after, place)
    ), wish AS (
        SELECT topic AS name, count(*) AS wanted, max(at) AS at FROM draft GROUP BY topic ORDER BY topic
    ), taken AS (
        INSERT INTO outbox_topic AS topic (name, last_seq, touched_at) SELECT name, wanted, at FROM wish ORDER BY name
        ON CONFLICT (name) DO UPDATE
        SET last_seq = topic.last_seq + excluded.last_seq, touched_at = excluded.touched_at
        RETURNING name, last_seq
    ), event AS (
        SELECT draft.*, row_number() OVER (PARTITION BY topic ORDER BY place) + taken.last_seq - wish.wanted AS seq
        FROM draft JOIN wish ON wish.name = topic JOIN taken ON taken.name = topic
    ), written AS (
        INSERT INTO outbox_outboxevent (topic, seq, type, operation_id, body, created_at, withheld)
        SELECT topic, seq, type, operation_id, before || coalesce(seq || after, ''), at, ''
        FROM event ORDER BY place
    ), lease AS MATERIALIZED (
        SELECT token, CASE WHEN token IS NOT NULL THEN clock_timestamp() + seconds * interval '1 second' END AS ends_at
        FROM (VALUES (%s::uuid, %s::float)) AS lease(token, seconds)
    ), new AS (
        INSERT INTO outbox_deliverycursor (topic, delivered_seq, lease_token, lease_expires_at)
        SELECT name, 0, token, ends_at FROM taken JOIN wish USING (name), lease WHERE last_seq = wanted
        ON CONFLICT DO NOTHING RETURNING topic, lease_token
    ), idle AS MATERIALIZED (
        SELECT cursor.topic
        FROM taken JOIN wish USING (name) JOIN outbox_deliverycursor cursor ON cursor.topic = name, lease
        WHERE token IS NOT NULL AND lease_expires_at IS NULL AND delivered_seq = last_seq - wanted
        ORDER BY name FOR UPDATE OF cursor SKIP LOCKED
    ), known AS (
        UPDATE outbox_deliverycursor SET lease_token = token, lease_expires_at = ends_at FROM idle, lease
        WHERE outbox_deliverycursor.topic = idle.topic RETURNING outbox_deliverycursor.topic, lease_token
    ), leased AS (
        SELECT topic FROM (TABLE new UNION ALL TABLE known) AS leased WHERE lease_token IS NOT NULL
    ) {also}
    SELECT seq, topic IN (SELECT topic FROM leased) FROM event ORDER BY place
"""
_NO_EVENTS = "WITH event AS (SELECT 0 AS place, 0 AS seq WHERE false) "
