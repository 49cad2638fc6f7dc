"""``make soak``: a whole CourseHub under saves, churn and failures; at the end every event has to be accounted for."""

import argparse
import asyncio
import random
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.broadcast import tools
from benchmarks.soak import memory, verdict, world
from benchmarks.soak.chaos import SPARED, Chaos
from benchmarks.soak.verdict import Truth, Verdict
from benchmarks.soak.watchers import Tally, Watcher, Way, never_read
from benchmarks.soak.world import Owner, Saver
from coursehub.stack.errors import StackError
from coursehub.stack.stack import Stack

RESULTS = Path(__file__).parents[1] / "results"
OWNERS, COURSES = 5, 3
SLOW, NEVER = 8, 8
_QUIET_SECONDS = 90.0
_TRANSPORTS = ("broadcast", SPARED)


def main() -> int:
    """Run it; returns the exit code: 0 if nothing was lost and nothing grew, 1 otherwise."""
    options, console = _parser().parse_args(), Console(soft_wrap=True)
    tools.open_files()
    try:
        with world.running() as stack:
            console.print(f"Running for {options.minutes:g} minutes …", highlight=False)
            found = Soak(stack, options.minutes * 60, options.clients).run()
    except StackError as error:
        console.print(f"There is nothing to soak: {error}", markup=False)
        return 2
    text = found.markdown()
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"soak-{time.strftime('%Y-%m-%dT%H-%M-%S')}.md"
    path.write_text(text)
    console.print(text, markup=False, highlight=False)
    console.print(f"Kept in {path}.", highlight=False)
    return 1 if found.failures else 0


class Soak:
    """One run: everybody at work for so many seconds, then quiet, then the reckoning."""

    def __init__(self, stack: Stack, seconds: float, clients: int) -> None:
        self._stack, self._seconds = stack, seconds
        self._over, self._at_rest = threading.Event(), threading.Event()
        self._tally = Tally()
        self._owners = [Owner(stack.api_url, f"owner{number}", COURSES) for number in range(OWNERS)]
        # The first owner's last course is where most happens; few can follow it.
        self._busy = self._owners[0].courses.pop()
        self._watchers = [self._watcher(number, Way()) for number in range(clients)]
        self._watchers += [self._busy_watcher("busy", n, Way()) for n in range(5)]
        slow = Way(stays=(20, 60), pause=0.05, tiny=True)
        self._watchers += [self._busy_watcher("slow", n, slow) for n in range(SLOW)]
        self._savers = self._make_savers()
        self._chaos = Chaos(stack, pause=max(3.0, min(seconds / 40, 12.0)), seconds=seconds, over=self._over)
        self._memory = memory.Watch(stack, pause=max(0.5, seconds / 200), over=self._over)

    def run(self) -> Verdict:
        """Run it to the end."""
        threads: Sequence[threading.Thread] = [*self._savers, self._chaos, self._memory]
        for thread in threads:
            thread.start()
        clients = threading.Thread(target=lambda: asyncio.run(self._play()), daemon=True)
        clients.start()
        time.sleep(self._seconds)
        self._over.set()
        for thread in threads:
            thread.join(_QUIET_SECONDS)
        truth = Truth(self._stack)
        failures = truth.wait_until_quiet(_QUIET_SECONDS)
        committed = truth.committed()
        self._wait_for_clients(committed)
        self._at_rest.set()
        clients.join(30)
        for owner in self._owners:
            owner.close()
        return self._judge(failures, committed)

    async def _play(self) -> None:
        """Play all clients until they are at rest; those that never read go when the saving ends."""
        over, enough = asyncio.Event(), asyncio.Event()
        owner = self._owners[0]
        playing = [asyncio.create_task(watcher.run(over)) for watcher in self._watchers]
        playing += [
            asyncio.create_task(never_read(owner, self._busy.id, self._url, enough, self._tally)) for _ in range(NEVER)
        ]
        await asyncio.to_thread(self._over.wait)
        enough.set()
        for watcher in self._watchers:
            watcher.until_the_end = True
        await asyncio.to_thread(self._at_rest.wait)
        over.set()
        await asyncio.gather(*playing)

    def _wait_for_clients(self, committed: dict[str, list[int]]) -> None:
        deadline = time.monotonic() + _QUIET_SECONDS
        ledgers = [watcher.ledger for watcher in self._watchers]
        while time.monotonic() < deadline:
            behind = any(
                ledger.position(topic) < len(committed.get(topic, ())) for ledger in ledgers for topic in ledger.seen
            )
            if not behind:
                return
            time.sleep(0.2)

    def _judge(self, failures: list[str], committed: dict[str, list[int]]) -> Verdict:
        ledgers = [watcher.ledger for watcher in self._watchers]
        looks = self._memory.looks
        looked = {name: memory.course(looks[name], same_process=name == SPARED) for name in looks}
        failures += verdict.failures_of(ledgers, committed, looked, self._chaos)
        total = sum(len(events) for events in committed.values())
        return Verdict(self._seconds, total, self._savers, ledgers, self._tally, self._chaos, looked, failures)

    def _watcher(self, number: int, way: Way) -> Watcher:
        owner = self._owners[number % OWNERS]
        courses = [course.id for course in owner.courses]
        return Watcher(f"client {number}", owner, courses, self._url, way, self._tally)

    def _busy_watcher(self, name: str, number: int, way: Way) -> Watcher:
        return Watcher(f"{name} {number}", self._owners[0], [self._busy.id], self._url, way, self._tally)

    def _make_savers(self) -> list[Saver]:
        savers = [Saver(owner.saver(), owner.courses, batch=1, pause=0.4, over=self._over) for owner in self._owners]
        savers.append(Saver(self._owners[0].saver(), [self._busy], batch=100, pause=1, over=self._over))
        return savers

    def _url(self) -> str:
        return f"ws://127.0.0.1:{self._stack.port(random.choice(_TRANSPORTS))}/ws/"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.partition(":")[2].strip())
    parser.add_argument("--minutes", type=float, default=10, help="how long (10)")
    parser.add_argument("--clients", type=int, default=100, help="clients that come and go (100)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to keep the report")
    return parser


if __name__ == "__main__":
    sys.exit(main())
