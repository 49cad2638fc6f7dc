"""The threads of API and worker, without either."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from coursehub.threads import WarmThreads


@pytest.fixture
def pool() -> Iterator[WarmThreads]:
    """Four threads."""
    with WarmThreads(4) as pool:
        yield pool


def occupy(pool: WarmThreads, number: int) -> tuple[Callable[[], None], list["Future[int]"]]:
    """Keep that many threads at work; returns what lets them go, and what tells their ids."""
    begun, end = threading.Barrier(number + 1), threading.Event()

    def work() -> int:
        begun.wait(10)
        end.wait(10)
        return threading.get_ident()

    futures = [pool.submit(work) for _ in range(number)]
    begun.wait(10)
    return end.set, futures


def test_one_after_another_is_one_threads_work_though_there_are_four(pool: WarmThreads):
    let_go, futures = occupy(pool, 4)
    let_go()
    assert len({future.result(10) for future in futures}) == 4
    # A result comes a moment before its thread is free again: two may take turns.
    seen = Counter(pool.submit(threading.get_ident).result(10) for _ in range(100))
    assert sum(times for _, times in seen.most_common(2)) > 80


def test_as_many_work_at_once_as_there_are_threads_and_the_rest_waits_its_turn(pool: WarmThreads):
    let_go, _ = occupy(pool, 4)
    order: list[int] = []
    waiting = [pool.submit(order.append, n) for n in range(20)]
    assert not any(future.done() for future in waiting)
    let_go()
    for future in waiting:
        future.result(10)
    assert sorted(order) == list(range(20))


def test_what_fails_is_told_and_costs_no_thread(pool: WarmThreads):
    for _ in range(8):
        with pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 / 0).result(10)
    let_go, futures = occupy(pool, 4)
    let_go()
    assert len({future.result(10) for future in futures}) == 4


def test_a_shutdown_lets_all_of_it_end_and_takes_nothing_more():
    pool = WarmThreads(4)
    let_go, futures = occupy(pool, 4)
    late = pool.submit(int)
    let_go()
    pool.shutdown()
    assert late.result(0) == 0
    assert all(future.done() for future in futures)
    assert not any(thread.is_alive() for thread in pool._threads)
    with pytest.raises(RuntimeError):
        pool.submit(int)


def test_a_shutdown_can_drop_what_has_not_begun():
    pool = WarmThreads(1)
    let_go, _ = occupy(pool, 1)
    late = pool.submit(int)
    pool.shutdown(wait=False, cancel_futures=True)
    let_go()
    assert late.cancelled()


def test_from_many_threads_at_once_everything_is_done_once(pool: WarmThreads):
    done: list[int] = []

    def submit(first: int) -> None:
        for future in [pool.submit(done.append, first + n) for n in range(500)]:
            future.result(10)

    threads = [threading.Thread(target=submit, args=(first,)) for first in range(0, 4000, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == list(range(4000))
