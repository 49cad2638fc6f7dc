"""Lines: the numbers by which audiences know their clients, and the sockets behind them."""

from array import array
from collections.abc import Callable
from typing import Final

CLOSED: Final = -1
"""In place of a socket: nothing may be written to it directly."""


class Lines:
    """
    The sockets of this process.

    Audiences keep line numbers, and a number's socket is looked up at the moment of writing. So closing a line, one
    store in here, keeps bytes from a connection in whatever audience it still is; its descriptor may be another
    connection's by then. A number may be given out again only when no audience can hold it any more.

    ``laggards``: clients that wait for their buffers to empty. ``on_superseded`` is told of each progress event that
    newer progress replaced before it went out.
    """

    def __init__(self) -> None:
        self.sockets = array("i")
        self.laggards = 0
        self.on_superseded: Callable[[], None] = lambda: None
        self._free: list[int] = []

    def take(self) -> int:
        """Give out a number, closed."""
        if self._free:
            return self._free.pop()
        self.sockets.append(CLOSED)
        return len(self.sockets) - 1

    def give_back(self, line: int) -> None:
        """Take a number back that nobody holds any more."""
        self.sockets[line] = CLOSED
        self._free.append(line)
