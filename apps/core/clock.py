"""The time, in the two forms that clients see: RFC 3339 in REST, milliseconds since the epoch in events."""

from datetime import UTC, datetime

from apps.core import sql


def now() -> datetime:
    """Tell the time in UTC, cut to whole milliseconds, so that a row's time and its event's timestamp are equal."""
    return _cut(datetime.now(UTC))


def now_of_database() -> datetime:
    """
    Tell the time like `now`, but by the database's clock, which is the same for all machines.

    It is for times that two machines take and a third compares.
    """
    return _cut(sql.rows("SELECT clock_timestamp()", [])[0][0])


def _cut(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def to_ms(moment: datetime) -> int:
    """Give a time as milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)


def to_rfc3339(moment: datetime | None) -> str | None:
    """Give a time as ``2026-01-31T12:00:00.000Z``; None stays None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_ms(milliseconds: int) -> datetime:
    """Give milliseconds since the epoch as a time."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
