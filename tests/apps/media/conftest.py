"""Storage in memory, for what makes URLs and opens uploads; what is in a library, `tests.support.library` makes."""

from tests.apps.uploads.conftest import bridge, looker, store, tus, workers

__all__ = ["bridge", "looker", "store", "tus", "workers"]
