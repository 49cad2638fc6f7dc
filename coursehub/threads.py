"""Threads for requests and tasks: whoever worked last works next."""

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any


class WarmThreads(ThreadPoolExecutor):
    """
    A pool that gives work to the thread that fell idle last.

    The library's threads take turns. So a process that was busy and now serves one user goes round all its threads, and
    round their database connections, each with a PostgreSQL process of its own that the processor's caches forgot.
    """

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self._work_queue: Any = _Handover()


class _Handover:
    """What the pool needs of a `queue.SimpleQueue`, but the last who came to wait is the first who is served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: deque[Any] = deque()
        self._idle: list[SimpleQueue[Any]] = []

    def put(self, item: Any) -> None:
        """Give an item to an idle thread, or keep it for the next that comes."""
        with self._lock:
            if not self._idle:
                self._items.append(item)
                return
            place = self._idle.pop()
        place.put(item)

    def get(self, block: bool = True) -> Any:
        """Take the oldest item, or wait for one."""
        # Made before the lock is taken: a garbage collection may end a pool, which puts something into its queue.
        place: SimpleQueue[Any] = SimpleQueue()
        with self._lock:
            if self._items:
                return self._items.popleft()
            if not block:
                raise Empty
            self._idle.append(place)
        return place.get()

    def get_nowait(self) -> Any:
        """Take the oldest item, if there is one."""
        return self.get(block=False)
