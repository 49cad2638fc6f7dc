"""Ways to put load on: one save after the other, at a steady pace, or as fast as it goes."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from benchmarks.subjects import Sample, Saver


@contextmanager
def at_work(savers: Sequence[Saver]) -> Iterator[Sequence[Saver]]:
    """Let users work, and close their connections afterwards. Each saves once before it counts."""
    try:
        for saver in savers:
            saver.save()
        yield savers
    finally:
        for saver in savers:
            saver.close()


def one_by_one(saver: Saver, times: int) -> list[Sample]:
    """Save, wait for the event, save again."""
    return [saver.save() for _ in range(times)]


def steadily(savers: Sequence[Saver], seconds: float, pause_seconds: float = 1.0) -> list[Sample]:
    """Let each user save once in every ``pause_seconds``, all of them spread evenly over it."""

    def work(saver: Saver, offset: float) -> Iterator[Sample]:
        for turn in range(round(seconds / pause_seconds)):
            due = started + offset + turn * pause_seconds
            time.sleep(max(0.0, due - time.perf_counter()))
            yield saver.save()

    started = time.perf_counter()
    gap = pause_seconds / len(savers)
    return _all_at_once(savers, lambda saver, number: list(work(saver, number * gap)))


def flat_out(savers: Sequence[Saver], seconds: float) -> tuple[list[Sample], float]:
    """Let each user save again as soon as they see the last one; returns the samples and the saves a second."""
    end = time.perf_counter() + seconds

    def work(saver: Saver, _number: int) -> list[Sample]:
        samples = []
        while time.perf_counter() < end:
            samples.append(saver.save())
        return samples

    started = time.perf_counter()
    samples = _all_at_once(savers, work)
    return samples, len(samples) / (time.perf_counter() - started)


def _all_at_once(savers: Sequence[Saver], work: Callable[[Saver, int], list[Sample]]) -> list[Sample]:
    ready = threading.Barrier(len(savers))

    def begin(saver: Saver, number: int) -> list[Sample]:
        ready.wait()
        return work(saver, number)

    with ThreadPoolExecutor(len(savers)) as pool:
        futures = [pool.submit(begin, saver, number) for number, saver in enumerate(savers)]
        return [sample for future in futures for sample in future.result()]
