"""What every scenario works with: the services, the load generator, the peers that can be had, and the figures."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from benchmarks.broadcast import tools
from benchmarks.broadcast.loader import Loader
from benchmarks.broadcast.peers.base import Peer
from benchmarks.broadcast.peers.others import Limit, Nchan, NodeWs, Stock
from benchmarks.broadcast.peers.ours import CourseHub
from benchmarks.figures import Figures
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.services import Services

PEERS = (Nchan.name, NodeWs.name, Stock.name, CourseHub.name)
"""Who is compared with the limit, in the order of the tables."""


@dataclass(frozen=True, slots=True)
class Effort:
    """
    How much to do in a round.

    ``seconds`` of each measurement; ``many`` clients where it says ten thousand; ``most`` where as many as go.
    """

    seconds: float = 2.0
    many: int = 10_000
    most: int = 20_000


QUICK = Effort(seconds=0.7, many=2_000, most=4_000)


@dataclass(slots=True)
class Bench:
    """``absent`` says of peers that cannot be had why; ``failed``: something could not be measured."""

    services: Services
    loader: Loader
    effort: Effort
    open_files: int
    figures: Figures = field(default_factory=Figures)
    absent: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    failed: bool = False

    @property
    def makers(self) -> dict[str, Callable[[], Peer]]:
        """How to make each peer that can be had."""
        redis_url = self.services.env["REDIS_URL"]
        all_: dict[str, Callable[[], Peer]] = {
            Nchan.name: Nchan,
            NodeWs.name: NodeWs,
            Stock.name: lambda: Stock(redis_url),
            CourseHub.name: self.ours,
        }
        return {name: make for name, make in all_.items() if name not in self.absent}

    def ours(self, more: Mapping[str, str] | None = None) -> CourseHub:
        """Make one process of ours."""
        return CourseHub(self.services.env, more)

    def redis_cpu_seconds(self) -> float:
        """Give the CPU time that Valkey used so far."""
        child = self.services.running["valkey"].child
        assert child
        times = psutil.Process(child.pid).cpu_times()
        return times.user + times.system

    def at_most(self, clients: int) -> int:
        """As many clients as the limit of open files lets one process have; remarks if they are fewer."""
        possible = self.open_files - 250
        if clients > possible:
            self.remark(
                f"{possible:,} clients where {clients:,} were meant: a process may open {self.open_files:,} files here "
                "(`ulimit -Hn`)."
            )
        return min(clients, possible)

    def remark(self, text: str) -> None:
        """Say something below the tables, once."""
        if text not in self.remarks:
            self.remarks.append(text)


@contextmanager
def running(effort: Effort) -> Iterator[Bench]:
    """Start Valkey and the load generator, and find out which peers can be had."""
    open_files = tools.open_files()
    data = DataDirectory.temporary(in_memory=False)
    with Services(data, external=frozenset({"DATABASE_URL"})) as services, Loader() as loader:
        tools.native("limit")
        bench = Bench(services, loader, effort, open_files)
        for peer, find in ((Nchan, tools.nchan), (NodeWs, tools.node)):
            try:
                find()
            except tools.ToolMissing as problem:
                bench.absent[peer.name] = str(problem)
        yield bench


__all__ = ["PEERS", "QUICK", "Bench", "Effort", "Limit", "running"]
