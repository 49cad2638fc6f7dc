"""Links to what another lane is still creating: a course, a chapter or a video that the same user asked for before."""

from collections.abc import Sequence
from uuid import UUID

from apps.operations import lanes
from apps.operations import selectors as operations
from apps.operations.models import Step


def check_ready(steps: Sequence[Step]) -> None:
    """
    Have what links refer to created before them.

    Raises:
        lanes.Behind: a lane has yet to create one of their targets.
    """
    wanted = {UUID(step.payload[name]) for step in steps if step.action == "media.link" for name in _REFERENCES}
    coming = [lane for lane in operations.lanes_creating(wanted) if lane.startswith(lanes.COURSE)] if wanted else []
    if coming:
        raise lanes.Behind(coming[0])


_REFERENCES = ("targetId", "courseId")
