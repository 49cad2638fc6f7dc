"""What the Celery application does to its workers' threads."""

import threading
from collections.abc import Iterator

import pytest
from celery.concurrency.base import BasePool
from celery.concurrency.prefork import TaskPool as ProcessPool
from celery.concurrency.thread import TaskPool
from celery.signals import worker_ready

from coursehub.celery import app
from coursehub.threads import WarmThreads


@pytest.fixture
def pool() -> Iterator[TaskPool]:
    """A pool as a worker makes it for ``--pool threads --concurrency 3``."""
    pool = TaskPool(3, app=app)
    yield pool
    pool.on_stop()


class Consumer:
    """As much of Celery's as the signal's receivers look at."""

    def __init__(self, pool: BasePool) -> None:
        self.pool = pool


def _ready(pool: BasePool) -> None:
    """Tell what a worker tells when it has reached its broker."""
    for _, answer in worker_ready.send(sender=Consumer(pool)):
        assert not isinstance(answer, Exception), answer


def test_a_worker_has_as_many_warm_threads_as_it_was_told(pool: TaskPool):
    _ready(pool)
    assert isinstance(pool.executor, WarmThreads)
    begun, end = threading.Barrier(4), threading.Event()

    def work() -> None:
        begun.wait(10)
        end.wait(10)

    done = [pool.executor.submit(work) for _ in range(3)]
    begun.wait(10)
    late = pool.executor.submit(int)
    assert not late.done()
    end.set()
    assert [future.result(10) for future in [*done, late]] == [None, None, None, 0]


def test_a_new_connection_to_the_broker_leaves_what_is_at_work_alone(pool: TaskPool):
    _ready(pool)
    threads = pool.executor
    _ready(pool)
    assert pool.executor is threads


def test_a_pool_of_processes_stays_what_it_is():
    pool = ProcessPool(1, app=app)
    _ready(pool)
    assert not hasattr(pool, "executor")
