"""The plot: who pays how much CPU for a delivery, and how many they make, as bars beside the limit's."""

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.broadcast import fanning
from benchmarks.broadcast.bench import PEERS
from benchmarks.broadcast.peers.ours import CourseHub
from benchmarks.figures import Figures

_WIDTH, _LEFT, _RIGHT, _BAR, _GAP = 800, 230, 90, 22, 8
_OURS, _OTHERS, _LINE, _TEXT = "#2563eb", "#94a3b8", "#dc2626", "#0f172a"
_MOST, _FAR = 8.0, 25.0
"""Where somebody is beyond ``_FAR``, bars end at ``_MOST``, theirs with a mark: the others would not be seen."""


def svg(figures: Figures) -> str:
    """Draw all panels that were measured."""
    panels: list[str] = []
    top = 20
    for title, scenario, name, subjects in _panels(figures):
        bars = [(subject, found.value) for subject in subjects if (found := figures.find(scenario, name, subject))]
        if bars:
            panels += _panel(title, bars, top)
            top += 60 + len(bars) * (_BAR + _GAP)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{top}" fill="white"/>', *panels, "</svg>", ""])


def _panels(figures: Figures) -> Iterator[tuple[str, str, str, Sequence[str]]]:
    for scenario in figures.scenarios():
        subjects = (*PEERS, fanning.DURABLE, fanning.BATCHED)
        if scenario.startswith("one topic") and scenario.endswith("one event at a time"):
            yield f"CPU a delivery, times the limit's: {scenario}", scenario, "CPU to the limit's", subjects
        elif scenario.startswith("one topic"):
            yield f"Deliveries a second, times the limit's: {scenario}", scenario, "deliveries to the limit's", subjects
        elif scenario == fanning.MANY_TOPICS:
            yield (
                f"Events a second, times the limit's: {scenario}",
                scenario,
                "events to the limit's",
                subjects,
            )


def _panel(title: str, bars: Sequence[tuple[str, float]], top: int) -> Iterator[str]:
    largest = max(1.2, *(value for _, value in bars))
    end = _MOST if largest > _FAR else largest
    scale = (_WIDTH - _LEFT - _RIGHT) / end
    yield f'<text x="10" y="{top + 14}" font-weight="bold" fill="{_TEXT}">{escape(title)}</text>'
    bottom = top + 26
    for name, value in bars:
        width = min(value, end) * scale
        colour = _OURS if name.startswith(CourseHub.name) else _OTHERS
        middle = bottom + _BAR - 6
        yield f'<text x="{_LEFT - 8}" y="{middle}" text-anchor="end" fill="{_TEXT}">{escape(name)}</text>'
        yield f'<rect x="{_LEFT}" y="{bottom}" width="{width:.1f}" height="{_BAR}" rx="3" fill="{colour}"/>'
        broken = " »" if value > end else ""
        yield f'<text x="{_LEFT + width + 6:.1f}" y="{middle}" fill="{_TEXT}">{value:.2f} ×{broken}</text>'
        bottom += _BAR + _GAP
    x, y = _LEFT + scale, top + 22
    yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{bottom}" stroke="{_LINE}" stroke-dasharray="4 3"/>'
