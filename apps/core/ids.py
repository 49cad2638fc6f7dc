"""Ids: UUIDs of version 7 (RFC 9562), which sort by age."""

from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Make a new id. Ids made by one process sort in the order they were made."""
    return uuid7()


def first_at(moment: datetime, later_seconds: int = 0) -> UUID:
    """Give the least id that can be made at a moment, or so much later: all that were made before are less."""
    milliseconds = int((moment.timestamp() + later_seconds) * 1000)
    return UUID(int=min(max(0, milliseconds), 2**48 - 1) << 80)
