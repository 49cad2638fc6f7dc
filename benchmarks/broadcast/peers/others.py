"""The limit, nchan, Node with `ws`, and Channels as its documentation teaches it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.broadcast import tools
from benchmarks.broadcast.peers.base import Peer

_HERE = Path(__file__).parent


class Limit(Peer):
    """The least a server can do: one ``send()`` for each client and event, in C."""

    name = "the limit"

    def command(self) -> list[str]:
        return [str(tools.native("limit")), str(self.port)]


class Nchan(Peer):
    """nginx with nchan, one worker, in memory, storing nothing: its fastest way."""

    name = "nchan"

    def command(self) -> list[str]:
        nginx, module = tools.nchan()
        configuration = (_HERE / "nchan.conf").read_text()
        for word, value in {"MODULE": module, "PORT": self.port, "FOLDER": self.folder}.items():
            configuration = configuration.replace(f"@{word}@", str(value))
        path = self.folder / "nginx.conf"
        path.write_text(configuration)
        return [str(nginx), "-p", str(self.folder), "-c", str(path), "-e", str(self.folder / "errors")]


class NodeWs(Peer):
    """Node with `ws`, without compression."""

    name = "Node ws"

    def command(self) -> list[str]:
        program, folder = tools.node()
        return [program, str(_HERE / "node_ws.js"), str(self.port), str(folder / "node_modules")]


class Stock(Peer):
    """Channels on Daphne with the core Redis layer and a consumer like the tutorial's."""

    name = "stock Channels"

    def __init__(self, redis_url: str) -> None:
        super().__init__()
        self._redis_url = redis_url

    def command(self) -> list[str]:
        application = "benchmarks.broadcast.peers.stock:application"
        words = ["-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(self.port), application]
        return [sys.executable, *words]

    def environment(self) -> Mapping[str, str]:
        return {"PATH": os.environ["PATH"], "STOCK_REDIS_URL": self._redis_url}
