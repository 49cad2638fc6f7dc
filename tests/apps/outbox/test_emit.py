"""Writing events: every topic counts 1, 2, 3, … in the order of commits."""

import json
import threading
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction

from apps.core import clock
from apps.outbox import emit
from apps.outbox.models import OutboxEvent, Topic
from broadcast.contracts import events
from tests.apps.outbox.writing import COURSE, OTHER, THIRD, USER_ID, draft, write
from tests.support.threads import Running, together, until_someone_waits_for_a_lock

NOW = datetime(2026, 1, 31, 12, 0, 0, 5000, UTC)
LONGEST_SEQ = 2**63 - 1


def _seqs(topic: str) -> list[int]:
    return list(OutboxEvent.objects.filter(topic=topic).order_by("id").values_list("seq", flat=True))


def test_each_topic_counts_for_itself_and_seqs_come_back_in_the_order_of_the_drafts() -> None:
    assert write(OTHER, COURSE, OTHER, OTHER) == [1, 1, 2, 3]
    assert write(COURSE, THIRD, COURSE) == [2, 1, 3]

    assert (_seqs(COURSE), _seqs(OTHER), _seqs(THIRD)) == ([1, 2, 3], [1, 2, 3], [1])
    assert dict(Topic.objects.values_list("name", "last_seq")) == {COURSE: 3, OTHER: 3, THIRD: 1}


def test_an_event_is_kept_as_clients_get_it() -> None:
    with transaction.atomic():
        emit.emit([draft(COURSE, title="Über")], now=NOW)

    kept = OutboxEvent.objects.get()
    assert kept.body == (
        '{"type":"chapter-update-complete","courseId":"01900000-0000-7000-8000-00000000000a",'
        '"operationId":"save-1","seq":1,"timestamp":1769860800005,"data":{"title":"Über"}}'
    )
    assert (kept.type, kept.operation_id, kept.created_at, kept.withheld) == (
        *("chapter-update-complete", "save-1", NOW, ""),
    )


def test_what_nobodys_operation_led_to_names_none() -> None:
    with transaction.atomic():
        emit.emit([emit.Draft("course-update-complete", COURSE, "", {})], now=NOW)

    assert "operationId" not in json.loads(OutboxEvent.objects.get().body)


def test_nothing_to_tell_takes_nothing_and_wakes_nobody(woken: list[set[str]]) -> None:
    with transaction.atomic():
        assert emit.emit([], now=NOW) == []

    assert not Topic.objects.exists()
    assert woken == []


def test_delivery_is_woken_after_the_commit_and_not_before(woken: list[set[str]]) -> None:
    with transaction.atomic():
        emit.emit([draft(COURSE), draft(OTHER)], now=NOW)
        assert woken == []

    assert woken == [{COURSE, OTHER}]


def test_a_rollback_leaves_no_seq_no_event_and_no_waking(woken: list[set[str]]) -> None:
    write(COURSE)
    woken.clear()
    with transaction.atomic():
        assert emit.emit([draft(COURSE), draft(OTHER)], now=NOW) == [2, 1]
        transaction.set_rollback(True)

    assert woken == []
    assert write(COURSE, OTHER) == [2, 1]
    assert (_seqs(COURSE), _seqs(OTHER)) == ([1, 2], [1])


def test_seqs_have_no_gap_and_no_double_whatever_many_do_at_once() -> None:
    def writer(names: list[str]) -> None:
        for turn in range(12):
            with transaction.atomic():
                emit.emit([draft(name) for name in names], now=clock.now())
                transaction.set_rollback(turn % 4 == 3)

    # In orders that would deadlock, were the topics locked as they come.
    orders = [[COURSE, OTHER], [OTHER, COURSE], [COURSE, THIRD, OTHER], [THIRD, COURSE, COURSE]]
    together(*(lambda names=names: writer(names) for names in orders))

    assert _seqs(COURSE) == list(range(1, 9 * 5 + 1))
    assert _seqs(OTHER) == list(range(1, 9 * 3 + 1))
    assert _seqs(THIRD) == list(range(1, 9 * 2 + 1))


@pytest.mark.parametrize("commits", [True, False])
def test_whoever_comes_second_waits_for_the_firsts_commit_and_follows_it(commits: bool) -> None:
    emitted, may_end = threading.Event(), threading.Event()

    def first() -> None:
        with transaction.atomic():
            emit.emit([draft(COURSE, by="first")], now=NOW)
            emitted.set()
            may_end.wait(10)
            transaction.set_rollback(not commits)

    def second() -> list[int]:
        return write(COURSE)

    slow = Running(first)
    assert emitted.wait(10)
    quick = Running(second)
    until_someone_waits_for_a_lock()
    assert not OutboxEvent.objects.exists()
    may_end.set()
    slow.result()

    assert quick.result() == ([2] if commits else [1])
    assert _seqs(COURSE) == ([1, 2] if commits else [1])


def test_topics_do_not_wait_for_each_other() -> None:
    with transaction.atomic():
        emit.emit([draft(COURSE)], now=NOW)
        assert Running(lambda: write(OTHER)).result() == [1]


def test_a_control_message_is_written_flat_and_says_from_when_on() -> None:
    before = clock.to_ms(clock.now())
    with transaction.atomic():
        emit.emit([emit.revoke_access(user_id=USER_ID, topic=COURSE)], now=NOW)

    message = json.loads(OutboxEvent.objects.get().body)
    assert message == {"type": "access-revoked", "userId": USER_ID, "topic": COURSE, "before": message["before"]}
    assert before <= message["before"] <= clock.to_ms(clock.now())
    assert OutboxEvent.objects.get().topic == f"control:{USER_ID}"


def _encoded(**data: object) -> dict[str, object]:
    body = _body(**data)
    assert len(body) <= events.MAX_BYTES
    decoded: dict[str, object] = json.loads(body)["data"]
    return decoded


def _body(**data: object) -> bytes:
    before, after = emit.encode(draft(COURSE, **data), NOW)
    return f"{before}{LONGEST_SEQ}{after}".encode()


def test_what_looks_like_a_seq_in_the_data_is_left_alone() -> None:
    look_alike = f'"seq":{LONGEST_SEQ}'
    with transaction.atomic():
        emit.emit([draft(COURSE, title=look_alike)], now=NOW)

    body = json.loads(OutboxEvent.objects.get().body)
    assert (body["seq"], body["data"]) == (1, {"title": look_alike})


def test_an_event_of_64_kib_is_whole_and_one_byte_more_is_not() -> None:
    room = events.MAX_BYTES - len(_body(ids=""))

    assert _encoded(ids="x" * room) == {"ids": "x" * room}
    assert _encoded(ids="x" * (room + 1)) == {"truncated": True}


def test_only_the_longest_is_left_out_and_the_rest_stays() -> None:
    assert _encoded(chapterId="c", videoIds=["v" * 36] * 2_000) == {"chapterId": "c", "truncated": True}


def test_length_counts_in_bytes_not_in_characters() -> None:
    assert _encoded(title="ü" * 33_000) == {"truncated": True}


def test_more_is_left_out_until_it_fits() -> None:
    assert _encoded(a=["x" * 1000] * 70, b=["y" * 1000] * 80, c=1) == {"c": 1, "truncated": True}


def test_of_an_error_its_lists_are_left_out_and_what_it_is_stays() -> None:
    error = {"code": "in_use", "message": "This file is in use.", "blockers": [{"title": "x" * 1000}] * 70}
    assert _encoded(stepId="1", error=error) == {
        "stepId": "1", "error": {"code": "in_use", "message": "This file is in use."}, "truncated": True,
    }  # fmt: skip


def test_a_long_event_takes_its_place_like_any_other() -> None:
    with transaction.atomic():
        assert emit.emit([draft(COURSE), draft(COURSE, ids="x" * 70_000), draft(COURSE)], now=NOW) == [1, 2, 3]

    bodies = OutboxEvent.objects.order_by("seq").values_list("body", flat=True)
    assert [json.loads(body)["data"] for body in bodies] == [{}, {"truncated": True}, {}]


def test_two_who_begin_a_topic_at_once_share_one_cursor() -> None:
    def begin() -> list[int]:
        return write(COURSE, OTHER)

    seqs = together(*[begin] * 4)

    assert sorted(seqs) == [[1, 1], [2, 2], [3, 3], [4, 4]]
    with connection.cursor() as cursor:
        cursor.execute("SELECT topic, delivered_seq FROM outbox_deliverycursor ORDER BY topic")
        assert cursor.fetchall() == [(COURSE, 0), (OTHER, 0)]
