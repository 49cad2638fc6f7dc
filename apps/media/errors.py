"""
Why something about media is refused, beside the errors that any request may meet.

    CourseHubError
    └── Conflict    409 conflict
        └── InUse   409 in_use
"""

from collections.abc import Sequence
from typing import Any

from apps.core import errors
from apps.media.library import LinkRow

BLOCKERS_MAX = 50
"""So many blockers are named; ``linkCount`` says how many there are."""


class InUse(errors.Conflict):
    """This file is in use. Remove its links, or delete it by force."""

    code = "in_use"

    def __init__(self, links: Sequence[LinkRow], count: int | None = None) -> None:
        self.links = links
        super().__init__(linkCount=len(links) if count is None else count)

    def with_blockers(self, blockers: Sequence[dict[str, Any]]) -> "InUse":
        """Name what the file is used by."""
        self.extra["blockers"] = list(blockers)
        return self


class InTrash(errors.Gone):
    """This file is in the trash. Restore it first."""
