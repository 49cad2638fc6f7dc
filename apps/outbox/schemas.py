"""What the catch-up view takes and answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from apps.core.pagination import DEFAULT_LIMIT, MAX_LIMIT
from apps.core.schemas import Body, Id


class After(Body):
    """Which of a topic's events."""

    model_config = ConfigDict(strict=False, extra="forbid")

    after: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


class Event(Body):
    """A durable event, as WebSocket clients get it; docs/events.md lists the types."""

    type: str
    course_id: Id | None = None
    user_id: Id | None = None
    operation_id: str | None = None
    seq: int
    timestamp: int
    data: dict[str, Any]


class EventsAnswer(BaseModel):
    """A topic's events, oldest first; ``next`` is the last seq given, or null at the end."""

    success: Literal[True]
    data: list[Event]
    next: int | None
