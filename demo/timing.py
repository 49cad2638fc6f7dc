"""Percentiles of times."""

from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """
    Give the value that ``percent`` of all do not exceed, between two neighbours in proportion.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("There is nothing to take a percentile of.")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def milliseconds(seconds: float) -> str:
    """Show a time."""
    return f"{seconds * 1000:.1f}"
