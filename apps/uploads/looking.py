"""What a file is by its content; the one place where the pipeline asks `apps.uploads.inspection`."""

from collections.abc import Callable

from apps.uploads import storage
from apps.uploads.inspection import inspector
from apps.uploads.inspection.facts import Facts

Look = Callable[[str, int], Facts]

_instead: Look | None = None


def look(key: str, size: int) -> Facts:
    """
    Look at an object.

    Raises:
        NotAllowed: it is nothing that may be uploaded; says why.
        inspector.InspectionFailed: nothing was found out, and it is not the file's fault.
        storage.StorageAway: it could not be read now.
    """
    return (_instead or _inspect)(key, size)


def _inspect(key: str, size: int) -> Facts:
    store = storage.store()
    return inspector.inspect(lambda offset, length: store.get_range(key, offset, length), size)


def use(other: Look | None) -> None:
    """Look otherwise from now on; None: really."""
    global _instead
    _instead = other
