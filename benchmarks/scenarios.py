"""The scenarios. Each measures CourseHub and the floor in turn, one round at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import load, stages, usage
from benchmarks.figures import Figures
from benchmarks.floor.subject import Floor
from benchmarks.product import CourseHub
from benchmarks.stack import OTHER_POOL, Bench
from benchmarks.subjects import Saver

ALONE, APART, TOGETHER = "one user", "20 users on 20 courses, each once a second", "20 users on one course, likewise"
FLAT_OUT = "20 users on 20 courses, without a pause"
FLAT_OUT_TOGETHER = "20 users on one course, without a pause"
BATCHES, SIZES, MEMORY = "one save with many changes", "5,000 videos against 50", "memory after the run"
BATCH_SIZES = (1, 10, 100, 1_000, 2_000)
SMALL, LARGE = "50 videos", "5,000 videos"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to do in a round."""

    saves: int = 100
    seconds: float = 5.0
    repeats: int = 10


def in_turn(bench: Bench, round_: int) -> Sequence[CourseHub | Floor]:
    """Give the subjects, each first in every other round."""
    return bench.subjects if round_ % 2 else bench.subjects[::-1]


def one_user(bench: Bench, figures: Figures, round_: int, effort: Effort) -> None:
    """Measure one user who saves, waits for the event, and saves again; and where that time goes."""
    for subject in in_turn(bench, round_):
        with load.at_work(subject.alone()) as (saver,):
            before = stages.histograms(bench)
            samples = load.one_by_one(saver, effort.saves)
            figures.note_times(ALONE, subject.name, samples)
            if subject is bench.product:
                stages.note(bench, figures, samples)
                stages.note_histograms(figures, subject.name, before, stages.histograms(bench))


def many_users(bench: Bench, figures: Figures, round_: int, effort: Effort) -> None:
    """Measure 20 users at a steady pace: apart, and together with everyone listening."""
    for subject in in_turn(bench, round_):
        for scenario, savers in ((APART, subject.apart), (TOGETHER, subject.together)):
            with load.at_work(savers()) as users:
                figures.note_times(scenario, subject.name, load.steadily(users, effort.seconds))


def flat_out(bench: Bench, figures: Figures, round_: int, effort: Effort) -> None:
    """Measure how many saves a second 20 users can make, and what CPU each costs in which part."""
    for subject in in_turn(bench, round_):
        for scenario, savers in ((FLAT_OUT, subject.apart), (FLAT_OUT_TOGETHER, subject.together)):
            with load.at_work(savers()) as users:
                before = usage.of_parts(bench.stack)
                samples, rate = load.flat_out(users, effort.seconds)
                spent = usage.cpu_between(before, usage.of_parts(bench.stack))
            figures.note(scenario, "saves a second", subject.name, rate, "/s")
            figures.note_times(scenario, subject.name, samples)
            _note_cpu(figures, scenario, subject.name, spent, len(samples))


def _note_cpu(figures: Figures, scenario: str, subject: str, spent: dict[str, float], saves: int) -> None:
    total = 0.0
    for part, seconds in spent.items():
        is_ours = part in ("broadcast", "postgres", "valkey") or part.startswith("floor") == (subject == Floor.name)
        if is_ours:
            total += seconds
            figures.note(scenario, f"CPU a save: {part.removeprefix('floor-')}", subject, seconds / saves * 1000)
    figures.note(scenario, "CPU a save: all", subject, total / saves * 1000)


def many_changes(bench: Bench, figures: Figures, round_: int, effort: Effort) -> None:
    """Measure saves of 1 to 2,000 mixed changes, from sending to the event that ends them."""
    for size in BATCH_SIZES:
        for subject in in_turn(bench, round_):
            with load.at_work([subject.batches(size)]) as (saver,):
                samples = load.one_by_one(saver, 1 if size >= 1000 else effort.repeats)
            heard = sorted(sample.heard for sample in samples)
            answered = sorted(sample.answered for sample in samples)
            changes = f"{size:,} change{'s' if size > 1 else ''}"
            figures.note(BATCHES, changes, subject.name, heard[len(heard) // 2] * 1000)
            figures.note(BATCHES, f"{changes}: 202", subject.name, answered[len(answered) // 2] * 1000)


def sizes(bench: Bench, figures: Figures, round_: int, effort: Effort) -> None:
    """Measure the same edits on a course of 100 chapters with 50 videos each, and on one of a single such chapter."""
    product, times = bench.product, effort.repeats * 2
    for edit, make in (("title", product.titles), ("move", product.moves), ("deletion", product.deletions)):
        savers = {SMALL: make(product.small), LARGE: make(product.large)}
        with load.at_work(list(savers.values())):
            for name, samples in _alternately(savers, times, round_).items():
                figures.note(SIZES, f"{edit} p50", name, sorted(samples)[len(samples) // 2] * 1000)
    for course in (product.small, product.large):
        product.replenish(course, times + 1)


def _alternately(savers: dict[str, Saver], times: int, round_: int) -> dict[str, list[float]]:
    """Save here and there in turn, so that both meet the same moods of the machine."""
    names = list(savers)[:: 1 if round_ % 2 else -1]
    heard: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(times):
        for name in names:
            heard[name].append(savers[name].save().heard)
    return heard


def pools(bench: Bench, figures: Figures, round_: int, effort: Effort) -> None:
    """Measure CourseHub with Celery's two pools: processes, and threads in one process."""
    for name in ("worker", OTHER_POOL)[:: 1 if round_ % 2 else -1]:
        with bench.only_worker(name):
            subject = THREADS if name == "worker" else PREFORK
            with load.at_work(bench.product.alone()) as (saver,):
                load.one_by_one(saver, effort.saves // 3)
                figures.note_times(f"{POOLS}: {ALONE}", subject, load.one_by_one(saver, effort.saves))
            with load.at_work(bench.product.apart()) as users:
                samples, rate = load.flat_out(users, effort.seconds)
            figures.note(f"{POOLS}: {FLAT_OUT}", "saves a second", subject, rate, "/s")
            figures.note_times(f"{POOLS}: {FLAT_OUT}", subject, samples)
            memory_bytes = usage.of_parts(bench.stack)[name].memory_bytes
            figures.note(f"{POOLS}: {FLAT_OUT}", "worker's memory", subject, memory_bytes / 1e6, "MB")


def memory(bench: Bench, figures: Figures) -> None:
    """Note how much memory each part has by now."""
    measured = usage.of_parts(bench.stack)
    for name, used in measured.items():
        subject = Floor.name if name.startswith("floor") else CourseHub.name
        figures.note(MEMORY, name.removeprefix("floor-"), subject, used.memory_bytes / 1e6, "MB")


POOLS, PREFORK, THREADS = "Celery's pools", "processes", "threads"

ROUND = (one_user, many_users, flat_out, many_changes, sizes)
"""What makes a round; `memory` comes once, at the end."""
