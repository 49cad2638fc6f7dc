"""Ids: UUIDs of version 7 (RFC 9562), which sort by age."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Make a new id. Ids made by one process sort in the order they were made."""
    return uuid7()
