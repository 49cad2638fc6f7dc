"""What the service is meant to reach, and whether a run shows that it does."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from statistics import median

from benchmarks.broadcast import connecting, fanning, ingesting, scene
from benchmarks.broadcast.peers.others import Nchan, Stock
from benchmarks.broadcast.peers.ours import CourseHub
from benchmarks.figures import Figures

OURS = CourseHub.name
Value = Callable[[Figures], float | None]


@dataclass(frozen=True, slots=True)
class Aim:
    """``value`` has to be at most ``bound`` (``at_least``: at least); ``stretch`` is what would be better still."""

    work: str
    value: Value
    bound: float
    unit: str
    at_least: bool = False
    stretch: float | None = None

    def row(self, figures: Figures) -> str | None:
        """Write it as a row; None: it was not measured."""
        value = self.value(figures)
        if value is None:
            return None
        sign = "≥" if self.at_least else "≤"
        stretch = "" if self.stretch is None else f" ({self.stretch:,g})"
        verdict = "met" if self._holds(value, self.bound) else "missed"
        if self.stretch is not None and self._holds(value, self.stretch):
            verdict = "stretch met"
        return f"| {self.work} | {sign} {self.bound:,g}{stretch} {self.unit} | {shown(value)} {self.unit} | {verdict} |"

    def _holds(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least else value <= bound


def shown(value: float) -> str:
    """Write a figure with as many digits as say something."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def figure(scenario: str, name: str, subject: str = OURS) -> Value:
    """The median of a figure."""

    def value(figures: Figures) -> float | None:
        found = figures.find(scenario, name, subject)
        return None if found is None else found.value

    return value


def ratio(scenario: str, name: str, base: str, subject: str = OURS) -> Value:
    """The median of the rounds' ratios of ours to another's figure."""
    return lambda figures: _ratio(figures, scenario, name, subject, base)


def inverse(scenario: str, name: str, base: str) -> Value:
    """How many times another's figure is ours."""
    return lambda figures: _ratio(figures, scenario, name, base, OURS)


def _ratio(figures: Figures, scenario: str, name: str, subject: str, base: str) -> float | None:
    one, other = figures.find(scenario, name, subject), figures.find(scenario, name, base)
    if one is None or other is None:
        return None
    if len(one.rounds) != len(other.rounds):  # one of them failed in a round
        return one.value / other.value
    return figures.ratio(scenario, name, subject, base)


def rise(unit: str, subject: str = OURS) -> Value:
    """The worst rise of a delivery's cost from a smaller size to a larger one, by the number of ``unit``."""

    def value(figures: Figures) -> float | None:
        series = figures.scenarios().get(fanning.GROWTH, [])
        costs = [median(one.rounds) for one in series if one.subject == subject and one.figure.endswith(unit)]
        pairs = [later / earlier for place, earlier in enumerate(costs) for later in costs[place + 1 :]]
        return max(pairs) if pairs else None

    return value


def worst(scenario: str, name: str) -> Value:
    """The highest of a figure's medians over all subjects."""

    def value(figures: Figures) -> float | None:
        series = figures.scenarios().get(scenario, [])
        return max((median(one.rounds) for one in series if one.figure == name), default=None)

    return value


def _of_manners() -> Iterator[Aim]:
    who = "others without manners"
    yield Aim(f"{who}: p99 of those that behave, to before", worst(scene.MANNERS, scene.RATIO), 1.5, "×")
    yield Aim(f"{who}: lost or late for those that behave", worst(scene.MANNERS, scene.LOST), 0, "")
    yield Aim(f"{who}: memory at most, more than before", worst(scene.MANNERS, scene.GROWN), scene.BOUND_MB, "MB")


_KEPT_OR_NOT = ((OURS, ""), (fanning.DURABLE, ", durable"))
"""Peers keep nothing, so ours is held against them without a history first, and then with it."""


def _of_fan_out(clients: int) -> Iterator[Aim]:
    scenario, who = fanning.fan_out_title(clients), f"one topic, {clients:,} clients: CPU a delivery"
    for subject, suffix in _KEPT_OR_NOT:
        cost = "CPU to the limit's"
        yield Aim(f"{who}, to the limit{suffix}", figure(scenario, cost, subject), 1.15, "×")
        yield Aim(f"{who}, to nchan{suffix}", ratio(scenario, cost, Nchan.name, subject), 1, "×")
    stock = inverse(scenario, "CPU to the limit's", Stock.name)
    yield Aim(f"{who}, stock Channels to ours", stock, 50, "×", at_least=True)
    bursts = fanning.bursts_title(clients)
    yield Aim("bursts: deliveries, to the limit", figure(bursts, "deliveries to the limit's"), 2, "×", at_least=True)
    batched = figure(bursts, "deliveries to the limit's", fanning.BATCHED)
    yield Aim("the same, durable, 32 a POST", batched, 2, "×", at_least=True)


def _of_clients(clients: int) -> Iterator[Aim]:
    scenario, who = connecting.connecting_title(clients), f"{clients:,} clients connecting"
    for suffix, when in (("", ""), (" again", " after a restart")):
        yield Aim(f"{who}{when}: failed", figure(scenario, f"failed{suffix}"), 0, "")
        yield Aim(f"{who}{when}: CPU each", figure(scenario, f"CPU each{suffix}"), 400, "µs", stretch=150)
        yield Aim(f"{who}{when}: all there", figure(scenario, f"all there{suffix}"), 5, "s", stretch=2)
    scenario, who = connecting.resuming_title(clients), f"{clients:,} clients resuming, 100 missed each"
    yield Aim(f"{who}: the last complete", figure(scenario, "the last is complete"), 10, "s")
    yield Aim(f"{who}: lost", figure(scenario, "lost"), 0, "")
    yield Aim(f"{who}: doubled", figure(scenario, "doubled"), 0, "")


def _of_the_rest() -> Iterator[Aim]:
    many, nchan = fanning.MANY_TOPICS, Nchan.name
    who = "4,000 clients on 1,000 topics: events, to nchan"
    yield Aim(f"{who}, one a POST", ratio(many, "events", nchan), 1, "×", at_least=True)
    yield Aim(
        f"{who}, {fanning.BURST} a POST", ratio(many, "events", nchan, fanning.MIXED[False]), 1, "×", at_least=True
    )
    ingest = figure(ingesting.INGEST, "events")
    yield Aim("bridge, one progress event a POST", ingest, 20_000, "/s", at_least=True, stretch=40_000)
    history = figure(ingesting.HISTORY, "to bare redis-py")
    yield Aim("durable in batches of 100, to bare redis-py", history, 0.5, "×", at_least=True)
    for (subject, suffix), name in product(_KEPT_OR_NOT, ("p50", "p99")):
        value = ratio(fanning.LATENCY, name, nchan, subject)
        yield Aim(f"latency at 30 % load, {name}, to nchan{suffix}", value, 1, "×")
    yield Aim("memory of an idle connection", figure(connecting.MEMORY, "a connection"), 20, "KB", stretch=12)
    yield Aim("growth: CPU a delivery over clients", rise(" clients"), 1.3, "×")
    yield Aim("the same, of what it is to the limit", rise(" clients", fanning.TO_LIMIT), 1.3, "×")
    yield Aim("growth: CPU a delivery over topics", rise(" topics"), 1.3, "×")


def rows(figures: Figures, many: int) -> list[str]:
    """Write all aims that were measured; ``many`` stands for ten thousand clients."""
    all_ = [*_of_fan_out(fanning.FEW), *_of_fan_out(many), *_of_the_rest(), *_of_clients(many), *_of_manners()]
    return [row for aim in all_ if (row := aim.row(figures))]
