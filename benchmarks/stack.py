"""The stack for the benchmarks: CourseHub as ``make run`` starts it, and the floor beside it on the same services."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.floor.subject import Floor
from benchmarks.product import CourseHub
from coursehub.stack import parts, ports, procfile
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.stack import Stack

FLOOR = {
    "floor-api": "gunicorn -c benchmarks/floor/serving.py benchmarks.floor.wsgi:application",
    "floor-worker": "celery -A benchmarks.floor.worker:app worker --queues floor --concurrency 2"
    " --without-gossip --without-mingle --loglevel INFO",
}
OTHER_POOL = "worker-processes"


@dataclass(slots=True)
class Bench:
    """A running stack with everything that is measured in it."""

    stack: Stack
    product: CourseHub
    floor: Floor

    @property
    def subjects(self) -> tuple[CourseHub, Floor]:
        """What is measured side by side."""
        return self.product, self.floor

    @contextmanager
    def only_worker(self, name: str) -> Iterator[None]:
        """Have this worker do the work, and afterwards the usual one again."""
        if name == "worker":
            yield
            return
        self.stack.runners["worker"].stop()
        self.stack.restart(name)
        try:
            yield
        finally:
            self.stack.runners[name].stop()
            self.stack.restart("worker")

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        """Connect to the database, for what only it can tell."""
        return psycopg.connect(self.stack.env["DATABASE_URL"], autocommit=True)


@contextmanager
def running(*, with_other_pool: bool = False) -> Iterator[Bench]:
    """
    Run it, with its data on the disk and safe against a crash of the machine, as in earnest.

    ``with_other_pool``: with a second worker, which is stopped at first.
    """
    given = {"THROTTLE_USER": "0", "THROTTLE_LOGINS": "0", "FLOOR_PORT": str(ports.free_port())}
    data = DataDirectory.temporary(in_memory=False)
    names = [*parts.DEFAULT, *FLOOR, *([OTHER_POOL] if with_other_pool else [])]
    with tempfile.TemporaryDirectory() as folder, _started(data, names, given, Path(folder)) as stack:
        if with_other_pool:
            stack.runners[OTHER_POOL].stop()
        floor_url = f"http://127.0.0.1:{given['FLOOR_PORT']}"
        env = stack.env
        floor = Floor(floor_url, stack.ws_url, env["DATABASE_URL"], env["TICKET_SECRET"])
        yield Bench(stack, CourseHub(stack.api_url), floor)


@contextmanager
def _started(data: DataDirectory, names: list[str], given: dict[str, str], folder: Path) -> Iterator[Stack]:
    """Start the stack, and have PostgreSQL note when each transaction was committed."""
    with Stack(data, names=names, given=given, commands=_procfile(folder), login=False) as stack:
        with psycopg.connect(stack.env["DATABASE_URL"], autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
        stack.restart("postgres")
        stack.wait_ready()
        yield stack


def _procfile(folder: Path) -> Path:
    """Write a Procfile with the project's lines, the floor's, and the worker with the other pool."""
    commands = procfile.read()
    processes = commands["worker"].replace("--pool threads", "--pool prefork", 1)
    path = folder / "Procfile"
    lines = (commands | FLOOR | {OTHER_POOL: processes}).items()
    path.write_text("".join(f"{name}: {command}\n" for name, command in lines))
    return path


def warm_up(bench: Bench) -> None:
    """Save so often that connections are open, code is loaded, and statements are prepared."""
    for subject in bench.subjects:
        (saver,) = subject.alone()
        for _ in range(30):
            saver.save()
        saver.close()
