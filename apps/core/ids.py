"""Ids: UUIDs of version 7 (RFC 9562), which sort by age; how clients may write them."""

from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Make a new id. Ids made by one process sort in the order they were made."""
    return uuid7()


def read(text: str) -> UUID:
    """
    Read an id as a client wrote it: with all hyphens and nothing else, in small or capital letters (RFC 9562 §4).

    Raises:
        ValueError: it is none.
    """
    id_ = UUID(text)
    if str(id_) != text.lower():
        raise ValueError(text)
    return id_


class PathConverter:
    """An id in a path, ``<id:…>``: Django's ``<uuid:…>`` knows small letters only."""

    regex = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

    def to_python(self, value: str) -> UUID:
        return read(value)

    def to_url(self, value: UUID) -> str:
        return str(value)


def first_at(moment: datetime, later_seconds: int = 0) -> UUID:
    """Give the least id that can be made at a moment, or so much later: all that were made before are less."""
    milliseconds = int((moment.timestamp() + later_seconds) * 1000)
    return UUID(int=min(max(0, milliseconds), 2**48 - 1) << 80)
