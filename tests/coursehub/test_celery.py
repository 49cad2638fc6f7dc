"""What the Celery application does to its workers' threads."""

import logging
import threading
from collections.abc import Iterator

import pytest
from celery.apps import worker
from celery.concurrency.base import BasePool
from celery.concurrency.prefork import TaskPool as ProcessPool
from celery.concurrency.thread import TaskPool
from celery.signals import worker_ready
from django.conf import settings
from kombu import Connection
from kombu.transport import redis

from coursehub import celery, tuning
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


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the application does when a worker begins."""
    monkeypatch.setattr(tuning, "settle", lambda: None)
    monkeypatch.setattr(redis.Channel, "do_restore", True)
    monkeypatch.setattr(worker, "safe_say", None)
    celery._settle()


@pytest.fixture
def broker() -> Iterator[Connection]:
    """A connection to the broker as workers have it."""
    with Connection(settings.REDIS_URL, transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS) as connection:
        yield connection


@pytest.fixture
def unacknowledged(settled: None, broker: Connection) -> Connection:
    """The same, with a hint that was fetched and not begun."""
    queue = broker.SimpleQueue("test-restoring", channel=broker.default_channel)
    queue.clear()
    queue.put("a hint")
    assert queue.get(timeout=5).payload == "a hint"
    return broker


def test_hints_of_a_worker_that_ends_are_given_to_another(unacknowledged: Connection):
    unacknowledged.default_channel.qos.restore_unacked_once()
    hint = unacknowledged.SimpleQueue("test-restoring").get(timeout=5)
    assert hint.payload == "a hint"
    hint.ack()


def test_hints_of_a_broker_that_is_gone_are_not_written_to_a_file(
    unacknowledged: Connection, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    channel, client = unacknowledged.default_channel, unacknowledged.transport.client
    unacknowledged.transport.client = None  # as Celery leaves it when the connection is lost
    with caplog.at_level(logging.INFO, "kombu"):
        channel.qos.restore_unacked_once()
    unacknowledged.transport.client = client

    assert caplog.messages == []
    assert capsys.readouterr().err == ""
