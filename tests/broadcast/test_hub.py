"""The hub as the observer of requirement D9."""

import logging

import pytest

from broadcast.feed import Taken
from broadcast.hub import Change, Hub
from tests.support.broadcast_fakes import TOPIC, FailingListener, RecordingListener, make_parcel

OTHER = TOPIC[:-1] + "8"


@pytest.fixture
def changes() -> list[tuple[Change, str]]:
    """What the hub reported."""
    return []


@pytest.fixture
def hub(changes: list[tuple[Change, str]]) -> Hub:
    """A hub without listeners."""
    return Hub(on_change=lambda change, topic: changes.append((change, topic)))


def listen(hub: Hub, listener: RecordingListener, topic: str = TOPIC):
    """Subscribe to a topic at its beginning."""
    subscription = hub.subscribe(topic, listener)
    hub.settle(topic, 0)
    hub.start(subscription, 0)
    return subscription


def test_listeners_hear_their_topic_and_no_other(hub: Hub):
    one, two, other = RecordingListener(), RecordingListener(), RecordingListener()
    listen(hub, one)
    listen(hub, two)
    listen(hub, other, OTHER)
    assert hub.emit(make_parcel(1)) is Taken.EMITTED
    assert (one.heard, two.heard, other.heard) == ([1], [1], [])


def test_an_event_is_encoded_and_framed_once_for_all(hub: Hub):
    listeners = [RecordingListener() for _ in range(3)]
    for listener in listeners:
        listen(hub, listener)
    hub.emit(make_parcel(1))
    wires = [listener.parcels[0].wire for listener in listeners]
    assert all(wire is wires[0] for wire in wires)


def test_a_listener_that_raises_stops_no_other_and_is_counted(hub: Hub, caplog: pytest.LogCaptureFixture):
    before, after = RecordingListener(), RecordingListener()
    seen: list[tuple[int | None, int, int]] = []
    hub.watch(lambda written: seen.extend((each.parcels[0].seq, each.deliveries, each.failed) for each in written))
    for listener in (before, FailingListener(), after):
        listen(hub, listener)
    with caplog.at_level(logging.ERROR):
        hub.emit(make_parcel(1, operation_id="save-7"))
    assert before.heard == after.heard == [1]
    assert seen == [(1, 3, 1)]
    assert caplog.records[0].operationId == "save-7"


def test_listener_counts_topics_and_event_types(hub: Hub):
    assert (hub.listener_count(), hub.topics(), hub.event_types()) == (0, [], [])
    first = listen(hub, RecordingListener())
    listen(hub, RecordingListener())
    listen(hub, RecordingListener(), OTHER)
    hub.emit(make_parcel(1, type_="video-create-complete"))
    assert (hub.listener_count(TOPIC), hub.listener_count(OTHER), hub.listener_count()) == (2, 1, 3)
    assert (hub.topics(), hub.event_types()) == ([TOPIC, OTHER], ["video-create-complete"])
    hub.unsubscribe(first)
    hub.unsubscribe(first)
    assert hub.listener_count(TOPIC) == 1
    assert hub.listener_count("nobody's") == 0


def test_clear_lets_everyone_go(hub: Hub, changes: list[tuple[Change, str]]):
    listener = RecordingListener()
    subscription = listen(hub, listener)
    hub.clear()
    assert hub.emit(make_parcel(1)) is None
    assert (listener.heard, hub.listener_count()) == ([], 0)
    assert changes[-1] == (Change.CLOSED, TOPIC)
    hub.unsubscribe(subscription)
    assert changes.count((Change.CLOSED, TOPIC)) == 1


def test_the_first_listener_opens_a_topic_and_the_last_closes_it(hub: Hub, changes: list[tuple[Change, str]]):
    first, second = listen(hub, RecordingListener()), listen(hub, RecordingListener())
    assert changes == [(Change.OPENED, TOPIC)]
    hub.unsubscribe(first)
    assert len(changes) == 1
    hub.unsubscribe(second)
    assert changes == [(Change.OPENED, TOPIC), (Change.CLOSED, TOPIC)]


def test_a_gap_is_reported_however_it_shows(hub: Hub, changes: list[tuple[Change, str]]):
    listen(hub, RecordingListener())
    hub.emit(make_parcel(2))
    assert changes[-1] == (Change.GAP, TOPIC)
    changes.clear()
    hub.mend(TOPIC, [make_parcel(1)], up_to=2)
    hub.settle(TOPIC, 5)
    assert changes == [(Change.GAP, TOPIC)]


def test_a_gap_shows_also_when_a_listener_starts_behind_it(hub: Hub, changes: list[tuple[Change, str]]):
    subscription = hub.subscribe(TOPIC, RecordingListener())
    hub.emit(make_parcel(7))
    hub.start(subscription, 5)
    assert changes[-1] == (Change.GAP, TOPIC)


def test_what_nobody_listens_to_goes_by(hub: Hub):
    assert hub.emit(make_parcel(1)) is None
    assert hub.mend(TOPIC, [make_parcel(1)], up_to=1) == 0
    hub.settle(TOPIC, 3)
    assert hub.feed(TOPIC) is None


def test_progress_never_comes_after_the_completion_it_led_to(hub: Hub):
    listener = RecordingListener()
    listen(hub, listener)
    video = {"operation_id": "upload-1", "videoId": "v1"}
    hub.emit(make_parcel(None, type_="upload-progress", **video))
    hub.emit(make_parcel(1, type_="upload-complete", **video))
    assert hub.emit(make_parcel(None, type_="upload-progress", **video)) is Taken.STALE
    assert listener.heard == [None, 1]


def test_a_completion_from_the_history_counts_too(hub: Hub):
    listener = RecordingListener()
    listen(hub, listener)
    video = {"operation_id": "upload-1", "videoId": "v1"}
    hub.emit(make_parcel(2, operation_id="other"))
    hub.mend(TOPIC, [make_parcel(1, type_="upload-complete", **video)], up_to=2)
    assert hub.emit(make_parcel(None, type_="upload-progress", **video)) is Taken.STALE


def test_a_completion_counts_though_nobody_listened_when_it_came(hub: Hub):
    video = {"operation_id": "upload-1", "videoId": "v1"}
    hub.emit(make_parcel(1, type_="upload-complete", **video))
    listener = RecordingListener()
    listen(hub, listener)
    assert hub.emit(make_parcel(None, type_="upload-progress", **video)) is Taken.STALE
    assert listener.heard == []


def test_a_completion_counts_though_the_history_had_it_before_it_came(hub: Hub):
    video = {"operation_id": "upload-1", "videoId": "v1"}
    hub.start(hub.subscribe(TOPIC, RecordingListener()), 1)
    hub.settle(TOPIC, 1)
    assert hub.emit(make_parcel(1, type_="upload-complete", **video)) is Taken.DUPLICATE
    assert hub.emit(make_parcel(None, type_="upload-progress", **video)) is Taken.STALE


@pytest.mark.parametrize("progress", ["upload-progress", "media-upload-progress", "media-bulk-link-progress"])
def test_a_completion_counts_though_it_came_by_a_replay_only(hub: Hub, progress: str):
    video = {"operation_id": "upload-1", "videoId": "v1"}
    completion = progress.removesuffix("progress") + "complete"
    hub.note_replayed(TOPIC, [make_parcel(1, type_=completion, **video).body])
    listen(hub, RecordingListener())
    assert hub.emit(make_parcel(None, type_=progress, **video)) is Taken.STALE


def test_a_lost_history_is_told_on_every_topic(hub: Hub):
    one, other = RecordingListener(), RecordingListener()
    listen(hub, one)
    listen(hub, other, OTHER)
    hub.lose()
    assert one.heard == other.heard == [("resync", 0)]


def test_a_listener_may_leave_while_an_event_is_written(hub: Hub):
    class Leaver(RecordingListener):
        def deliver(self, taken):
            super().deliver(taken)
            hub.unsubscribe(subscriptions[1])

    leaver, next_one = Leaver(), RecordingListener()
    subscriptions = [listen(hub, leaver), listen(hub, next_one)]
    hub.emit(make_parcel(1))
    hub.emit(make_parcel(2))
    assert leaver.heard == [1, 2]
    assert next_one.heard == [1]
