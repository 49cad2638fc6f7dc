"""Ten thousand deletions at once, and what others feel of them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import psycopg

from benchmarks.media.world import World
from demo.client import Api
from demo.timing import percentile

COUNT = 10_000
_EVERY_SECONDS = 0.02


@dataclass(slots=True)
class Felt:
    """How long each of someone's attempts took, in milliseconds."""

    name: str
    times_ms: list[float] = field(default_factory=list)

    @property
    def longest(self) -> float:
        return max(self.times_ms, default=0.0)

    @property
    def p95(self) -> float:
        return percentile(self.times_ms, 95) if self.times_ms else 0.0


@dataclass(frozen=True, slots=True)
class Deletion:
    """
    Two bulk requests: of what, how many links went with one, and how long they took, alone and beside others.

    ``before``, ``meanwhile``: what those others felt.
    """

    what: str
    links: int
    alone_seconds: float
    seconds: float
    before: list[Felt]
    meanwhile: list[Felt]


def delete(world: World, round_: int, what: str) -> Deletion:
    """Delete files that ``what`` names by one request, and as many more by another while others are at work."""
    alone_seconds = _timed(world, [*_choose(world, round_, what)])
    links = _choose(world, round_, what)
    wanted = [*links]
    with _probing(world, wanted) as before:
        time.sleep(2.0)
    with _probing(world, wanted) as meanwhile:
        seconds = _timed(world, wanted)
    return Deletion(what, sum(links.values()), alone_seconds, seconds, before, meanwhile)


def _choose(world: World, round_: int, what: str) -> dict[UUID, int]:
    """Map the files to delete next to how many links they have."""
    found = world.rows(WANTED[what], world.owner, COUNT, 10 * round_)
    return {UUID(str(id_)): int(str(links)) for id_, links in found}


def _timed(world: World, wanted: list[UUID]) -> float:
    began = time.perf_counter()
    answer = world.api.post("media/bulk/delete/", {"mediaIds": [str(id_) for id_ in wanted], "force": True})
    operation = world.api.wait(answer.operation_id, 120)
    seconds = time.perf_counter() - began
    assert operation["status"] == "succeeded", (operation["status"], operation["failed"], operation["error"])
    return seconds


# Those of the file that is used everywhere stay: it would be one deletion of 20,000 links.
_SOME = """
    SELECT id, link_count FROM media_media
    WHERE owner_id = %s AND NOT trashed AND link_count {} ORDER BY right(id::text, 4), id LIMIT %s OFFSET %s
"""
WANTED = {
    "files that nothing uses": _SOME.format("= 0"),
    "files that are used, by force": _SOME.format("BETWEEN 1 AND 99"),
}


@contextmanager
def _probing(world: World, wanted: list[UUID]) -> Iterator[list[Felt]]:
    """Have others work meanwhile: on rows that are being deleted, on a course that loses links, on their own files."""
    over = threading.Event()
    probes = [
        (Felt("locks a file that is deleted"), _locking(world, _LOCK_FILE, wanted)),
        (Felt("locks a course, which loses links if any does"), _locking(world, _LOCK_COURSE, _courses(world, wanted))),
        (Felt("renames such a course, until it is done"), _editing(world.colleague.again(), _paths(world, wanted))),
        (Felt("renames a file of their own, until it is done"), _editing(world.colleague.again(), _own(world))),
    ]
    threads = [threading.Thread(target=_probe, args=(felt, attempt, over)) for felt, attempt in probes]
    for thread in threads:
        thread.start()
    try:
        yield [felt for felt, _ in probes]
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _probe(felt: Felt, attempt: Callable[[int], None], over: threading.Event) -> None:
    attempt(0)
    number = 0
    while not over.wait(_EVERY_SECONDS):
        number += 1
        began = time.perf_counter()
        attempt(number)
        felt.times_ms.append((time.perf_counter() - began) * 1000)


def _locking(world: World, statement: bytes, ids: list[UUID]) -> Callable[[int], None]:
    connection = psycopg.connect(world.stack.env["DATABASE_URL"], autocommit=True)
    return lambda number: connection.execute(statement, [ids[number * 7919 % len(ids)]]) and None


_LOCK_FILE = b"SELECT 1 FROM media_media WHERE id = %s FOR NO KEY UPDATE"
_LOCK_COURSE = b"SELECT 1 FROM courses_course WHERE id = %s FOR NO KEY UPDATE"


def _editing(api: Api, paths: list[str]) -> Callable[[int], None]:
    def edit(number: int) -> None:
        path = paths[number % len(paths)]
        body = {"title" if path.startswith("courses") else "name": f"Renamed {number}"}
        assert api.wait(api.patch(path, body).operation_id, 60)["status"] == "succeeded"

    return edit


def _courses(world: World, wanted: list[UUID]) -> list[UUID]:
    found = world.rows("SELECT DISTINCT home_id FROM media_medialink WHERE media_id = ANY(%s) LIMIT 50", wanted)
    found = found or world.rows("SELECT id FROM courses_course WHERE owner_id = %s LIMIT 50", world.owner)
    return [UUID(str(id_)) for (id_,) in found]


def _paths(world: World, wanted: list[UUID]) -> list[str]:
    return [f"courses/{id_}/" for id_ in _courses(world, wanted)]


def _own(world: World) -> list[str]:
    found = world.rows("SELECT id FROM media_media WHERE owner_id = %s", UUID(world.colleague.user["id"]))
    return [f"media/{id_}/" for (id_,) in found]
