"""What was measured: figures by scenario and subject, round by round, and what they come to."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benchmarks.subjects import Sample
from demo.timing import percentile

PERCENTS = (50, 95, 99)


@dataclass(slots=True)
class Series:
    """One figure of one subject: a value for each round. ``unit`` is ``ms``, ``/s``, ``MB``, …"""

    scenario: str
    figure: str
    subject: str
    unit: str
    rounds: list[float] = field(default_factory=list)

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)


class Figures:
    """All series of a run, in the order in which they first came."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, str], Series] = {}

    def note(self, scenario: str, figure: str, subject: str, value: float, unit: str = "ms") -> None:
        """Note a round's value."""
        key = scenario, figure, subject
        self._series.setdefault(key, Series(scenario, figure, subject, unit)).rounds.append(value)

    def note_times(self, scenario: str, subject: str, samples: Sequence[Sample]) -> None:
        """Note the percentiles of a round's save → event times, and the median of its answers."""
        heard = [sample.heard for sample in samples]
        for percent in PERCENTS:
            self.note(scenario, f"p{percent}", subject, percentile(heard, percent) * 1000)
        self.note(scenario, "202 p50", subject, percentile([sample.answered for sample in samples], 50) * 1000)

    def find(self, scenario: str, figure: str, subject: str) -> Series | None:
        """Give a series, or None."""
        return self._series.get((scenario, figure, subject))

    def scenarios(self) -> dict[str, list[Series]]:
        """Give all series by scenario."""
        found: dict[str, list[Series]] = defaultdict(list)
        for series in self._series.values():
            found[series.scenario].append(series)
        return found

    def ratio(self, scenario: str, figure: str, subject: str, base: str) -> float | None:
        """
        Give the median of the rounds' ratios of a subject to another.

        Both were measured one after the other in each round, so that the machine's moods cancel out.
        """
        ours, theirs = self.find(scenario, figure, subject), self.find(scenario, figure, base)
        if ours is None or theirs is None:
            return None
        return median(a / b for a, b in zip(ours.rounds, theirs.rounds, strict=True) if b)

    def as_json(self) -> list[dict[str, Any]]:
        """Give everything, for a file."""
        return [asdict(series) | {"median": series.value} for series in self._series.values()]
