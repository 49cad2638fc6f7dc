"""What operations look like from outside."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from apps.core.schemas import Body, Key

EXPECT_MAX = 100_000


class Mutation(Body):
    """A mutation's body may name its operation and step; the headers do the same."""

    operation_id: Key | None = None
    expect: Annotated[int, Field(ge=1, le=EXPECT_MAX)] | None = None
    step_id: Key | None = None


class Headers(Body):
    """The headers that name an operation and a step."""

    model_config = ConfigDict(strict=False, extra="forbid", alias_generator=None)

    operation_id: Annotated[Key, Field(alias="Operation-Id", description="The operationId; made here otherwise.")] = ""
    expect: Annotated[
        int, Field(alias="Operation-Expect", ge=1, le=EXPECT_MAX, description="How many steps will come in all.")
    ] = 0
    step_id: Annotated[
        Key, Field(alias="Idempotency-Key", description="The stepId: names this request within its operation.")
    ] = ""


class Wait(Body):
    """How long to wait for the end."""

    model_config = ConfigDict(strict=False, extra="forbid")

    wait: Annotated[float, Field(ge=0, le=25, allow_inf_nan=False)] = 0


class ErrorData(BaseModel):
    """Why a step failed."""

    model_config = ConfigDict(extra="allow")

    code: str
    message: str


class StepData(Body):
    """One step of an operation."""

    step_id: str
    action: str
    status: Literal["pending", "running", "succeeded", "failed"]
    data: dict[str, Any] | None
    error: ErrorData | None


class OperationSummaryData(Body):
    """An operation without its steps."""

    operation_id: str
    kind: str
    status: Literal["pending", "running", "succeeded", "partial", "failed", "cancelled"]
    expected: int
    succeeded: int
    failed: int
    progress: int
    topic: str
    seq: int | None
    created_at: str
    finished_at: str | None
    error: ErrorData | None


class OperationData(OperationSummaryData):
    """An operation; ``seq`` is that of its final event on ``topic``."""

    steps: list[StepData]


class NothingData(Body):
    """An empty object."""


class RetryData(Body):
    """Which operation is tried again."""

    retry_of: str
