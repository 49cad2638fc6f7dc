"""
Targets: what an upload is for.

Each kind is a small adapter, registered in its app's ``ready()``; everything else about uploads is the same for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from pydantic import BaseModel

from apps.accounts.models import User
from apps.core import errors
from apps.operations import open_steps
from apps.operations.lanes import Outcome
from apps.operations.models import Step
from apps.operations.submit import Identity
from apps.uploads.models import StoredFile, Upload


@dataclass(frozen=True, slots=True)
class Planned:
    """
    What an upload to a target will be.

    ``id`` is the video's or media file's; ``ids`` what the answer and the failure events say beside the uploadId, that
    id and any tempId included; ``payload`` is what the lane's handler needs to begin the step (the uploadId is added);
    ``prefix`` begins the object's key; ``creates`` says whether the step brings ``id`` into being.
    """

    id: UUID
    ids: Mapping[str, str]
    lane: str
    topic: str
    payload: Mapping[str, Any]
    prefix: str
    creates: bool
    temp_id: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client wants to upload: the target as it wrote it, and the file's name, cleaned."""

    target: Mapping[str, Any]
    filename: str


class Target(Protocol):
    """
    One kind of thing that files are uploaded for.

    The lane's handler runs the step with ``action``: it makes the record or marks the one that is there, and answers
    with an open outcome. `hold`, `completed` and `failed` run in the caller's transaction, in this order of locks:
    what `hold` locks, the uploads, their steps.
    """

    kind: str
    action: str
    progress_event: str

    @property
    def body(self) -> type[BaseModel]:
        """What a target of this kind may say."""

    def allowed(self) -> frozenset[str]:
        """Name the categories of content that it takes: of video, image, document, other."""

    def plan(self, user: User, identity: Identity, wanted: Wanted) -> Planned:
        """
        Check the user's rights, find or assign ids, replace tempIds.

        Raises:
            errors.CourseHubError: it is refused.
        """

    def check(self, user: User, upload: Upload) -> None:
        """
        Check whether the user may still upload to where a failed upload was to go.

        Raises:
            errors.CourseHubError: they may not, or it is gone.
        """

    def is_there(self, upload: Upload) -> bool:
        """Say whether the video or media file is there."""

    def hold(self, uploads: Sequence[Upload]) -> None:
        """Lock whatever the ends of these uploads will touch, in the order of ids."""

    def completed(self, upload: Upload, step: Step, file: StoredFile, now: datetime) -> Outcome:
        """
        Record a file, letting go of the one it replaces; what `hold` locks is locked.

        An outcome with an error says that there is nothing any more to record it on: the file is then discarded.
        """

    def failed(self, upload: Upload, step: Step, error: errors.CourseHubError, now: datetime) -> Outcome:
        """Record that no file will come; what was there before stays."""


_targets: dict[str, Target] = {}


def register(target: Target) -> None:
    """Take uploads for one more kind of target."""
    from apps.uploads.services import StepOwner

    _targets[target.kind] = target
    open_steps.register(target.action, StepOwner())


def of_kind(kind: object) -> Target:
    """
    Find the adapter of a kind.

    Raises:
        errors.Invalid: there is none.
    """
    if not isinstance(kind, str) or kind not in _targets:
        raise errors.Invalid("There is no such target.", fields={"target.kind": [f"One of {', '.join(_targets)}."]})
    return _targets[kind]


def schema() -> dict[str, Any]:
    """Make the JSON schema of a target of any kind."""
    return {"anyOf": [_targets[kind].body.model_json_schema() for kind in sorted(_targets)]}
