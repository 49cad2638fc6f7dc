from typing import Any

from benchmarks.soak.ledger import Ledger, fingerprint
from benchmarks.soak.memory import Look, course

TOPIC = "course:019a5c2e-7b10-7c3a-9f54-3f1d2a6b8c01"


def event(seq: int, title: str = "") -> dict[str, Any]:
    return {"type": "chapter-update-complete", "courseId": TOPIC.partition(":")[2], "seq": seq, "data": {"t": title}}


def committed(count: int) -> dict[str, list[int]]:
    return {TOPIC: [fingerprint(event(seq)) for seq in range(1, count + 1)]}


def ledger_after(*seqs: int) -> Ledger:
    ledger = Ledger("client", [TOPIC])
    ledger.subscribed(TOPIC)
    for seq in seqs:
        ledger.heard(event(seq))
    return ledger


def test_an_account_that_is_complete_differs_in_nothing() -> None:
    ledger = ledger_after(1, 2, 3)

    assert ledger.breaches == []
    assert ledger.differences(committed(3)) == []


def test_an_event_that_was_left_out_is_a_breach_and_a_difference() -> None:
    ledger = ledger_after(1, 3)

    assert ledger.breaches == [f"client: {TOPIC}: 2 was next, and 3 came"]
    assert ledger.differences(committed(3)) == [f"client: {TOPIC} ends at 1, the database at 3"]


def test_an_event_that_came_twice_is_a_breach() -> None:
    assert ledger_after(1, 2, 2).breaches == [f"client: {TOPIC}: 3 was next, and 2 came"]


def test_a_lost_last_event_is_a_difference() -> None:
    assert ledger_after(1, 2).differences(committed(3)) == [f"client: {TOPIC} ends at 2, the database at 3"]


def test_an_event_that_says_something_else_than_the_database_is_a_difference() -> None:
    ledger = ledger_after(1)
    ledger.heard(event(2, "other"))

    assert ledger.differences(committed(2)) == [f"client: {TOPIC} 2 is not what was committed (1 such)"]


def test_what_comes_again_after_a_resync_further_back_is_no_breach() -> None:
    ledger = ledger_after(1, 2, 3)

    ledger.resync(TOPIC, 1)
    for seq in (2, 3, 4):
        ledger.heard(event(seq))

    assert ledger.breaches == []
    assert ledger.differences(committed(4)) == []


def test_what_was_fetched_over_rest_counts() -> None:
    ledger = ledger_after(1)

    ledger.refetch(event(2))
    ledger.resync(TOPIC, 2)
    ledger.heard(event(3))

    assert (ledger.breaches, ledger.refetched) == ([], 1)
    assert ledger.differences(committed(3)) == []


def test_an_event_without_a_subscription_is_a_breach() -> None:
    ledger = ledger_after(1)
    ledger.disconnected()

    ledger.heard(event(2))

    assert ledger.breaches == [f"client: {TOPIC} 2 came without a subscription"]


def test_a_heartbeat_that_knows_more_than_was_delivered_is_a_breach() -> None:
    ledger = ledger_after(1, 2)

    ledger.heartbeat({TOPIC: 2})
    assert ledger.breaches == []
    ledger.heartbeat({TOPIC: 3})
    assert ledger.breaches == [f"client: {TOPIC}: a heartbeat knows 3, and 3 has not come"]


def looks(*megabytes: float, pid: int = 1) -> list[Look]:
    return [Look(float(at), pid, int(size * 1e6)) for at, size in enumerate(megabytes)]


def test_memory_that_stays_is_flat_and_memory_that_grows_is_not() -> None:
    steady = course(looks(*[60.0] * 20), same_process=True)
    growing = course(looks(*[60.0 + 3 * step for step in range(20)]), same_process=True)

    assert steady is not None and steady.is_flat
    assert growing is not None and not growing.is_flat


def test_the_memory_of_a_process_that_died_does_not_count_for_the_next() -> None:
    both = [*looks(500, 500, 500), *(Look(look.at + 3, 2, look.memory_bytes) for look in looks(*[60.0] * 10))]

    found = course(both, same_process=True)

    assert found is not None
    assert found.most_bytes == 60_000_000


def test_too_few_looks_say_nothing() -> None:
    assert course(looks(60, 60), same_process=True) is None
