"""How far an upload is, for everyone who watches its target."""

from collections.abc import Callable
from typing import Any

from apps.operations import open_steps
from apps.outbox import progress
from apps.outbox.emit import Draft
from apps.uploads import targets
from apps.uploads.models import Upload


def offer(upload: Upload, count: int, status: str) -> None:
    """Tell how many bytes there are, soon; see `apps.outbox.progress`."""
    if upload.target_kind:
        progress.offer(str(upload.pk), draft(upload, count, status))


def follow(upload: Upload, count: Callable[[], int], status: str) -> None:
    """Tell, soon, how many bytes there are by then."""
    if upload.target_kind:
        progress.offer(str(upload.pk), lambda: draft(upload, count(), status))


def finish(upload: Upload, count: int, status: str) -> None:
    """Tell the last figure of this process, and return when it is out or thrown away."""
    if upload.target_kind:
        progress.finish(str(upload.pk), draft(upload, count, status))


def stop(upload: Upload) -> None:
    """Tell nothing more."""
    progress.finish(str(upload.pk))


def keep(upload: Upload, count: int) -> None:
    """Keep how far it is in the operation, at a coarser grain: for every twentieth of the file."""
    far = step_percent(count, upload.declared_size, grain=5)
    if upload.step_id and far:
        open_steps.note_progress(upload.step_id, far)


def draft(upload: Upload, count: int, status: str) -> Draft:
    """Make the event; never a figure below one that was told before."""
    told = max(count, upload.reported)
    data: dict[str, Any] = {
        **upload.target,
        "uploadId": str(upload.pk),
        "progress": percent(told, upload.declared_size),
        "status": status,
        "bytes": told,
        "total": upload.declared_size,
    }
    return Draft(targets.of_kind(upload.target_kind).progress_event, upload.topic, upload.operation_key, data)


def percent(count: int, total: int | None) -> int:
    """Give the part of the whole; 0 while nobody knows the whole."""
    return min(100, 100 * count // total) if total else 0


def step_percent(count: int, total: int | None, *, grain: int = 1) -> int:
    """Give how far an open step is, rounded down to a multiple of ``grain``; 99 at most, as it has not ended."""
    return min(99, percent(count, total) // grain * grain)
