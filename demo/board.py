"""The live table: every event as it comes, with the time from the save to each screen."""

import threading
from collections import defaultdict
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from demo.client import Json, topic_of
from demo.timing import milliseconds, percentile

SCREENS = ("tab 1", "tab 2", "phone")
_ROWS = 18
_SHOWN_OF_MANY = 2
_BAR_WIDTH = 40


@dataclass(slots=True)
class Row:
    """One event, and how long after the save each screen had it; None: it was replayed to one that had been away."""

    use_case: str
    event: Json
    seconds: dict[str, float | None] = field(default_factory=dict)

    @property
    def times(self) -> list[float]:
        """The times of those screens that heard it live."""
        return [seconds for seconds in self.seconds.values() if seconds is not None]

    @property
    def cells(self) -> list[str]:
        """The row as texts."""
        topic = topic_of(self.event).partition(":")[0]
        about = _about(self.event["data"])
        return [self.use_case, self.event["type"], about, f"{topic} {self.event['seq']}", *map(self._cell, SCREENS)]

    def _cell(self, screen: str) -> str:
        seconds = self.seconds.get(screen, 0.0)
        return "replayed" if seconds is None else milliseconds(seconds) if seconds else ""


class Board:
    """What every board keeps: the rows, and the times by use case. `hear` is called in the connections' threads."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.use_case = ""
        self._rows: dict[tuple[str, int], Row] = {}
        self._figures: dict[str, dict[str, Json]] = {}
        self._lock = threading.Lock()

    def begin(self, use_case: str) -> None:
        """Announce a use case."""
        self.use_case = use_case

    def note(self, text: str) -> None:
        """Say something in between."""

    def watch(self, screen: str, figure: Json) -> None:
        """Show how far an upload or a bulk request is, as a screen has just heard."""
        with self._lock:
            self._figures.setdefault(_what(figure), {})[screen] = figure["data"]

    def bars(self) -> list[str]:
        """Draw the uploads that are under way, for each screen."""
        with self._lock:
            under_way = [upload for upload in self._figures.values() if not all(map(_is_over, upload.values()))]
            return [f"{screen:<8} {_bar(figure)}" for upload in under_way for screen, figure in sorted(upload.items())]

    def settle(self) -> None:
        """Take notice that every screen has everything, for now."""

    def hear(self, screen: str, event: Json, use_case: str, seconds: float | None) -> None:
        """Show an event that came to a screen, so long after the save."""
        with self._lock:
            row = self._rows.setdefault((topic_of(event), event["seq"]), Row(use_case, event))
            # An event that is heard again is the judge's business; here the first time counts.
            row.seconds.setdefault(screen, seconds)

    def rows(self, skip: int = 0) -> list[Row]:
        """Give the rows after the first ``skip``."""
        with self._lock:
            return list(self._rows.values())[skip:]

    def summary(self) -> Table:
        """Make the table of times by use case."""
        by_use_case: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows():
            by_use_case[row.use_case].append(row)
        table = Table("use case", title="Save → event, by use case", title_justify="left")
        for name in ("events", "deliveries", "p50 ms", "p99 ms"):
            table.add_column(name, justify="right")
        for use_case, rows in by_use_case.items():
            times = [seconds for row in rows for seconds in row.times]
            shown = [milliseconds(percentile(times, percent)) for percent in (50, 99)] if times else ["", ""]
            table.add_row(use_case, str(len(rows)), str(sum(len(row.seconds) for row in rows)), *shown)
        return table


class LiveBoard(Board):
    """For a terminal: a table that grows while events come."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.live = Live(console=console, get_renderable=self._render, refresh_per_second=12, transient=True)

    def note(self, text: str) -> None:
        self.console.print(Text(f"      {text}", style="dim"))

    def _render(self) -> Group:
        table = events_table()
        for row in self.rows()[-_ROWS:]:
            table.add_row(*row.cells[1:])
        return Group(Text(self.use_case, style="bold"), table, *(Text(bar, style="green") for bar in self.bars()))


class PlainBoard(Board):
    """For a pipe or a file: a line for each event, the middle of a long save left out."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._printed = 0
        self._quarters: dict[str, int] = {}

    def watch(self, screen: str, figure: Json) -> None:
        """Say it by quarters, and as one screen hears it."""
        super().watch(screen, figure)
        what, quarter = _what(figure), _percent(figure["data"]) // 25
        if screen == SCREENS[0] and quarter > self._quarters.get(what, -1):
            self._quarters[what] = quarter
            self._line(_bar(figure["data"]))

    def begin(self, use_case: str) -> None:
        super().begin(use_case)
        self.console.print(use_case, markup=False, highlight=False)

    def note(self, text: str) -> None:
        self._line(text)

    def settle(self) -> None:
        new = self.rows(self._printed)
        self._printed += len(new)
        hidden = range(_SHOWN_OF_MANY, len(new) - _SHOWN_OF_MANY)
        for index, row in enumerate(new):
            if index not in hidden or len(hidden) == 1:
                self._line(_line(row.cells))
            elif index == hidden.start:
                self._line(f"… {len(hidden)} more")

    def _line(self, text: str) -> None:
        self.console.print(f"      {text}", markup=False, highlight=False, soft_wrap=True)


def events_table() -> Table:
    """Make the head of the table of events."""
    table = Table(expand=True)
    for name in ("event", "about", "seq"):
        table.add_column(name, no_wrap=True, ratio=1 if name == "about" else None)
    for name in SCREENS:
        table.add_column(f"{name} ms", justify="right", no_wrap=True)
    return table


def _about(data: Json) -> str:
    for name in ("newTitle", "title", "status", "role"):
        if data.get(name):
            return str(data[name])
    if "updates" in data:
        return ", ".join(f"{name}: {value}" for name, value in data["updates"].items())
    if "error" in data:
        return str(data["error"]["message"])
    ids = next((data[name] for name in ("chapterIds", "videoIds") if name in data), None)
    return f"{len(ids)} in a new order" if ids else ""


def _what(figure: Json) -> str:
    return str(figure["data"].get("uploadId") or figure["operationId"])


def _percent(data: Json) -> int:
    return int(data["progress"] if "progress" in data else 100 * data["done"] // data["total"])


def _is_over(data: Json) -> bool:
    return _percent(data) == 100


def _bar(data: Json) -> str:
    if "done" in data:
        share = f"{data['done']} of {data['total']} files, {data['failed']} failed"
    else:
        share = f"{data['bytes'] / 1e6:.1f} of {data['total'] / 1e6:.1f} MB, {data['status']}"
    done = _percent(data) * _BAR_WIDTH // 100
    return f"{'━' * done}{'┄' * (_BAR_WIDTH - done)} {_percent(data):>3} % {share}"


def _line(cells: list[str]) -> str:
    _, type_, about, seq, *times = cells
    shown = "  ".join(f"{name} {time or '–':>5}" for name, time in zip(SCREENS, times, strict=True))
    return f"{type_:<29} {about[:38]:<38} {seq:<11} {shown}"
