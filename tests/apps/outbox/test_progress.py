"""Progress is sent by a thread of its own: the newest figure, not too often, and none after the last."""

import threading
from collections.abc import Iterator

import pytest

from apps.outbox import progress
from apps.outbox.emit import Draft
from apps.outbox.progress import Sender
from tests.support.bridge import MemoryBridge
from tests.support.clock import Clock
from tests.support.threads import until

pytestmark = pytest.mark.pure
COURSE = "course:01900000-0000-7000-8000-00000000000a"


def figure(percent: int, video: str = "v1") -> Draft:
    return Draft("upload-progress", COURSE, "op", {"videoId": video, "progress": percent})


def said(bridge: MemoryBridge) -> list[int]:
    return [event["data"]["progress"] for event in bridge.progress]


@pytest.fixture
def bridge() -> MemoryBridge:
    return MemoryBridge()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sender(bridge: MemoryBridge, clock: Clock) -> Sender:
    """One that sends when it is told to."""
    return Sender(bridge, clock.monotonic)


@pytest.fixture
def at_work(bridge: MemoryBridge) -> Iterator[Sender]:
    """One with its thread, as in production."""
    sender = Sender(bridge)
    threading.Thread(target=sender.run, daemon=True).start()
    progress.use(sender)
    yield sender
    progress.use(None)


def test_the_first_figure_is_sent_at_once_with_its_envelope_and_without_a_seq(
    sender: Sender, bridge: MemoryBridge
) -> None:
    sender.offer("u1", figure(1))
    sender.send_due()

    (event,) = bridge.progress
    assert event.keys() == {"topic", "type", "courseId", "operationId", "timestamp", "data"}
    assert (event["type"], event["topic"], event["operationId"]) == ("upload-progress", COURSE, "op")


def test_eight_a_second_are_sent_of_a_key_and_always_the_newest(
    sender: Sender, bridge: MemoryBridge, clock: Clock
) -> None:
    for percent in range(80):
        sender.offer("u1", figure(percent))
        sender.send_due()
        clock.pass_(1 / 80 + 0.0001)

    assert said(bridge) == [0, 10, 20, 30, 40, 50, 60, 70]


def test_a_figure_may_be_made_when_its_time_has_come(sender: Sender, bridge: MemoryBridge, clock: Clock) -> None:
    newest = [1]
    sender.offer("u1", lambda: figure(newest[-1]))
    newest.append(2)
    sender.send_due()
    sender.offer("u1", lambda: figure(newest[-1]))
    newest.append(3)
    clock.pass_(0.2)
    sender.send_due()
    assert said(bridge) == [2, 3]


def test_one_that_cannot_be_made_stops_nobody(sender: Sender, bridge: MemoryBridge, clock: Clock) -> None:
    def broken() -> Draft:
        raise RuntimeError

    sender.offer("u1", broken)
    sender.send_due()
    clock.pass_(2)
    sender.offer("u2", figure(2))
    sender.send_due()
    assert said(bridge) == [2]


def test_keys_do_not_wait_for_each_other_and_share_a_post(sender: Sender, bridge: MemoryBridge, clock: Clock) -> None:
    sender.offer("u1", figure(1))
    sender.send_due()
    sender.offer("u1", figure(2))
    sender.offer("u2", figure(3, "v2"))
    sender.send_due()
    assert said(bridge) == [1, 3]

    clock.pass_(0.2)
    sender.offer("u2", figure(4, "v2"))
    sender.send_due()
    assert said(bridge) == [1, 3, 2, 4] and len(bridge.posts) == 3


def test_while_the_bridge_is_away_figures_are_thrown_away_and_nobody_is_held_up(
    sender: Sender, bridge: MemoryBridge, clock: Clock
) -> None:
    bridge.away = True
    sender.offer("u1", figure(1))
    sender.send_due()
    for _ in range(9):
        clock.pass_(0.1)
        sender.offer("u1", figure(2))
        sender.send_due()
    assert len(bridge.posts) == 1
    sender.finish("u1", figure(3))

    bridge.away = False
    clock.pass_(0.2)
    sender.offer("u1", figure(4))
    sender.send_due()
    assert said(bridge) == [4]


def test_a_refused_figure_stops_nobody(at_work: Sender, bridge: MemoryBridge) -> None:
    bridge.refuse(lambda event: True)
    at_work.offer("u1", figure(1))
    until(lambda: bridge.posts, "a POST")
    at_work.finish("u1", figure(2))


# The last figure


def test_finishing_returns_when_the_last_figure_is_out(at_work: Sender, bridge: MemoryBridge) -> None:
    progress.offer("u1", figure(1))
    progress.finish("u1", figure(100))

    assert said(bridge)[-1] == 100
    progress.finish("u1")


def test_the_last_figure_does_not_wait_for_its_turn(sender: Sender, bridge: MemoryBridge) -> None:
    threading.Thread(target=sender.run, daemon=True).start()
    sender.offer("u1", figure(1))
    until(lambda: said(bridge) == [1], "the first figure")
    sender.finish("u1", figure(100))

    assert said(bridge) == [1, 100], "by its clock no time has passed"


def test_nothing_comes_after_the_end_of_a_post_that_was_under_way(at_work: Sender, bridge: MemoryBridge) -> None:
    with bridge.held() as waiting:
        at_work.offer("u1", figure(1))
        assert waiting.wait(5)
        at_work.offer("u1", figure(2))
        finishing = threading.Thread(target=at_work.finish, args=("u1", None, 5))
        finishing.start()
        until(lambda: "u1" not in at_work._waiting, "what was offered to be dropped")
        assert finishing.is_alive()
        bridge.let_go()
        finishing.join(5)

    assert said(bridge) == [1]


def test_a_bridge_that_does_not_answer_is_waited_for_so_long_and_then_the_figure_is_dropped(
    at_work: Sender, bridge: MemoryBridge
) -> None:
    with bridge.held() as waiting:
        at_work.offer("u1", figure(1))
        assert waiting.wait(5)
        at_work.finish("u1", figure(2), patience_seconds=0.05)
    at_work.offer("u2", figure(3, "v2"))
    until(lambda: 3 in said(bridge), "the other's figure")

    assert said(bridge) == [1, 3]


def test_what_is_told_is_out_before_others_can_go_on(at_work: Sender, bridge: MemoryBridge) -> None:
    progress.tell("b1", figure(1))
    assert said(bridge) == [1]
    progress.tell("b1", figure(2))
    assert said(bridge) == [1]
    until(lambda: at_work._now() >= at_work._due_at("b1"), "the next figure is due")
    progress.tell("b1", figure(3))
    assert said(bridge) == [1, 3]


def test_nobody_waits_long_to_tell_a_figure_and_none_comes_late(sender: Sender, bridge: MemoryBridge) -> None:
    sender.tell("b1", figure(1))
    sender.send_due()
    assert said(bridge) == []
