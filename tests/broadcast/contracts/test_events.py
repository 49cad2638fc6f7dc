"""What the types of events say about each other."""

from broadcast.contracts import events
from tests.broadcast.contracts.test_golden import known_types


def test_a_pair_of_types_ends_its_progress_by_its_names_alone():
    added = ["film-cut-progress", "film-cut-complete", "progress", 64 * 1024, None]
    assert events.completions(added) == ("film-cut-complete",)
    assert set(events.completions(known_types())) <= set(events.ENDS_PROGRESS)


def test_nothing_ends_progress_that_is_not_about_any():
    assert known_types() & set(events.ENDS_PROGRESS) == {
        "upload-complete",
        "media-upload-complete",
        "operation-failed",
        "batch-operation-complete",
    }
