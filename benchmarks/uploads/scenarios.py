"""What is measured: one large file, many at once, and how soon a screen knows how far an upload is."""

import itertools
import time
from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from benchmarks.figures import Figures
from benchmarks.uploads import ways
from benchmarks.uploads.files import MIB
from benchmarks.uploads.watching import INSPECTION, Watched, watching
from benchmarks.uploads.ways import Sent, Way
from benchmarks.uploads.world import World
from demo.timing import percentile

ONE, MANY, PROGRESS = "one file", "many files at once", "delay of progress"
PLAIN_ONE, PLAIN, TUS, DIRECT = "boto3, one part at a time", "boto3", "tus", "direct"
ALONE, BESIDE = "alone", "beside a large file by tus"
THROUGHPUT, COMPLETING = "throughput", "last byte → upload-complete"
WAYS: dict[str, Way] = {
    PLAIN_ONE: ways.plain_one_at_a_time,
    PLAIN: ways.plain,
    TUS: ways.tus,
    DIRECT: ways.direct,
}


def one_file(world: World, figures: Figures, round_: int) -> None:
    """Upload one large file by each way in turn."""
    for name in _in_turn(list(WAYS), round_):
        _measure(world, figures, ONE, name, [world.effort.one_bytes])


def many_files(world: World, figures: Figures, round_: int) -> None:
    """Upload many files at once by each way in turn."""
    for name in _in_turn(list(WAYS), round_):
        _measure(world, figures, MANY, name, [world.effort.each_bytes] * world.effort.many)


def _in_turn(names: list[str], round_: int) -> list[str]:
    """Each comes first now and then."""
    place = round_ % len(names)
    return names[place:] + names[:place]


def _measure(world: World, figures: Figures, scenario: str, name: str, sizes: Sequence[int]) -> None:
    paths, way = [world.file(size) for size in sizes], WAYS[name]
    world.settle()
    with watching(world.stack) as watched, ThreadPoolExecutor(len(paths)) as pool:
        sent = list(pool.map(lambda path: way(world, path), paths))
        done = [world.wait_complete(one.upload_id) for one in sent if one.upload_id]
    seconds = max(one.ended for one in sent) - min(one.began for one in sent)
    figures.note(scenario, THROUGHPUT, name, sum(sizes) / MIB / seconds, "MiB/s")
    if done:
        _note_ours(figures, scenario, name, sent, done)
    _note_usage(figures, scenario, name, watched, sum(sizes))
    world.empty_bucket()


def _note_ours(figures: Figures, scenario: str, name: str, sent: Sequence[Sent], done: Sequence[float]) -> None:
    waited = [at - one.ended for one, at in zip(sent, done, strict=True)]
    figures.note(scenario, COMPLETING, name, max(waited) * 1000)


def _note_usage(figures: Figures, scenario: str, name: str, watched: Watched, size: int) -> None:
    gib = size / MIB / 1024
    if name in (TUS, DIRECT):
        for part in ("api", "worker", INSPECTION):
            figures.note(scenario, f"memory above idle: {part}", name, watched.growth(part) / MIB, "MiB")
        for part in ("api", "worker", "relay"):
            figures.note(scenario, f"CPU: {part}", name, watched.cpu[part] / gib, "s/GiB")
    figures.note(scenario, "CPU: storage", name, watched.cpu["swift"] / gib, "s/GiB")


def progress(world: World, figures: Figures, round_: int) -> None:  # noqa: ARG001
    """Tell how old figures are when they come, of an upload that is so slow that nothing of it waits in buffers."""
    _note_delays(world, figures, ALONE)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(ways.tus, world, world.file(world.effort.one_bytes))
        time.sleep(0.5)
        _note_delays(world, figures, BESIDE)
        world.wait_complete(other.result().upload_id)
    world.empty_bucket()


def _note_delays(world: World, figures: Figures, name: str) -> None:
    slow = ways.paced(world, world.effort.paced_seconds)
    sent, counts = slow["sent"], [count for count, _ in slow["sent"]]
    figures_heard = [one for one in world.heard("upload-progress", slow["upload_id"]) if one.frame["data"]["bytes"]]
    delays = [one.at - sent[bisect_left(counts, one.frame["data"]["bytes"])][1] for one in figures_heard]
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(figures_heard)]
    figures.note(PROGRESS, "p50", name, median(delays) * 1000)
    figures.note(PROGRESS, "p99", name, percentile(delays, 99) * 1000)
    figures.note(PROGRESS, "longest silence", name, max(gaps) * 1000)
    figures.note(PROGRESS, "figures a second", name, len(delays) / world.effort.paced_seconds, "/s")


ROUND = (one_file, many_files, progress)
