"""One topic in one process."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broadcast import parcel, resume
from broadcast.contracts import frames
from broadcast.feed import Feed, Subscription, Taken
from broadcast.hub import Change, Hub
from broadcast.resume import Limits, Refetch, Request, Resumed, Retained
from tests.support.broadcast_fakes import TOPIC, RecordingListener, make_parcel


def make_feed(*, last: int | None = None, capacity: int = 100) -> Feed:
    """Make a feed that writes to listeners directly."""

    def emit(taken: Any, listeners: Any) -> None:
        for deliver in listeners.others:
            deliver(taken)

    feed = Feed(TOPIC, emit=emit, capacity=capacity)
    if last is not None:
        feed.settle(last)
    return feed


def listen(feed: Feed, position: int) -> RecordingListener:
    """Let a listener in that needs nothing up to a position."""
    listener = RecordingListener()
    feed.start(feed.add(listener), position)
    return listener


def test_events_in_order_are_emitted_and_doubles_are_not():
    feed = make_feed(last=0)
    listener = listen(feed, 0)
    taken = [feed.take(make_parcel(seq)) for seq in (1, 2, 2, 1, 3)]
    assert listener.heard == [1, 2, 3]
    assert taken == [Taken.EMITTED, Taken.EMITTED, Taken.DUPLICATE, Taken.DUPLICATE, Taken.EMITTED]


def test_listeners_hear_an_event_in_the_order_in_which_they_came():
    heard: list[int] = []

    class Numbered(RecordingListener):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def deliver(self, taken: parcel.Parcel) -> None:
            heard.append(self.number)

    feed = make_feed()  # whose order nobody knows yet: all of them are held until the first event
    for number in range(200):
        feed.start(feed.add(Numbered(number)), 0)
    for seq in (1, 2):
        feed.take(make_parcel(seq))
    assert heard == [*range(200)] * 2


def test_events_out_of_order_wait_for_the_one_before():
    feed = make_feed(last=0)
    listener = listen(feed, 0)
    assert feed.take(make_parcel(3)) is Taken.GAP
    assert feed.take(make_parcel(2)) is Taken.GAP
    assert feed.behind
    assert listener.heard == []
    feed.take(make_parcel(1))
    assert listener.heard == [1, 2, 3]
    assert not feed.behind


def test_a_gap_is_filled_from_the_history_before_anything_goes_on():
    feed = make_feed(last=0)
    listener = listen(feed, 0)
    feed.take(make_parcel(4))
    assert feed.mend([make_parcel(1), make_parcel(2), make_parcel(3)], up_to=4) == 3
    assert listener.heard == [1, 2, 3, 4]


def test_a_gap_that_nothing_fills_is_a_resync_and_what_follows_goes_on():
    feed = make_feed(last=0)
    listener = listen(feed, 0)
    feed.take(make_parcel(4))
    assert feed.mend([], up_to=4) == 0
    assert listener.heard == [("resync", 3), 4]
    feed.take(make_parcel(5))
    assert listener.heard == [("resync", 3), 4, 5]


def test_a_gap_that_nothing_fills_is_a_resync_for_who_is_catching_up_across_it():
    feed = make_feed(last=0)
    listener = RecordingListener()
    subscription = feed.add(listener)
    feed.take(make_parcel(1))
    feed.take(make_parcel(4))
    feed.mend([], up_to=4)
    feed.start(subscription, 0)
    feed.take(make_parcel(5))
    assert listener.heard == [("resync", 4), 5]


def test_a_gap_that_nothing_fills_is_no_matter_to_who_is_beyond_it():
    feed = make_feed(last=0)
    beyond, level = listen(feed, 5), listen(feed, 0)
    feed.take(make_parcel(4))
    feed.mend([], up_to=4)
    for seq in (5, 6):
        feed.take(make_parcel(seq))
    assert level.heard == [("resync", 3), 4, 5, 6]
    assert beyond.heard == [6]


def test_what_was_kept_and_is_settled_by_the_history_does_not_come_back():
    feed = make_feed()
    subscription = feed.add(listener := RecordingListener())
    for seq in (5, 6):
        feed.take(make_parcel(seq))
    feed.settle(10)
    feed.start(subscription, 10)
    feed.take(make_parcel(12))
    feed.mend([], up_to=12)
    assert listener.heard == [("resync", 11), 12]


def test_only_so_much_is_kept_and_what_was_not_is_asked_for_again():
    feed = make_feed(last=0, capacity=2)
    listener = listen(feed, 0)
    for seq in (3, 4, 5):
        feed.take(make_parcel(seq))
    feed.mend([make_parcel(1), make_parcel(2)], up_to=2)
    assert listener.heard == [1, 2, 3, 4]
    assert feed.behind


def test_what_came_after_the_history_was_asked_is_not_given_up():
    feed = make_feed(last=0)
    listener = listen(feed, 0)
    feed.take(make_parcel(2))
    feed.take(make_parcel(5))
    feed.mend([make_parcel(1)], up_to=2)
    assert listener.heard == [1, 2]
    assert feed.behind


def test_a_listener_that_is_ahead_of_the_feed_skips_what_it_has():
    feed = make_feed(last=3)
    ahead, level = listen(feed, 5), listen(feed, 3)
    for seq in (4, 5, 6):
        feed.take(make_parcel(seq))
    assert ahead.heard == [6]
    assert level.heard == [4, 5, 6]


def test_a_listener_that_catches_up_gets_what_was_emitted_meanwhile_once():
    feed = make_feed(last=0)
    listener = RecordingListener()
    subscription = feed.add(listener)
    for seq in (1, 2, 3):
        feed.take(make_parcel(seq))
    assert listener.heard == []
    feed.start(subscription, 2)
    feed.take(make_parcel(4))
    assert listener.heard == [3, 4]


def test_a_listener_whose_catching_up_took_too_long_is_told_to_resync():
    feed = make_feed(last=0, capacity=2)
    listener = RecordingListener()
    subscription = feed.add(listener)
    for seq in (1, 2, 3, 4):
        feed.take(make_parcel(seq))
    feed.start(subscription, 0)
    feed.take(make_parcel(5))
    assert listener.heard == [("resync", 4), 5]


def test_a_topic_that_the_history_does_not_know_begins_where_its_listeners_are():
    feed = make_feed()
    first, second = listen(feed, 5), listen(feed, 7)
    for seq in (5, 6, 7, 8):
        feed.take(make_parcel(seq))
    assert first.heard == [6, 7, 8]
    assert second.heard == [8]


def test_who_says_to_have_seen_more_than_there_is_keeps_nothing_from_others():
    feed = make_feed()
    liar = listen(feed, 2**53 - 1)
    assert feed.take(make_parcel(6)) is Taken.EMITTED
    honest = listen(feed, 5)
    honest_too = listen(feed, 6)
    feed.take(make_parcel(7))
    assert (liar.heard, honest.heard, honest_too.heard) == ([], [("resync", 6), 7], [7])


def test_what_was_kept_goes_out_though_the_first_listener_says_to_have_seen_more():
    feed = make_feed()
    late = RecordingListener()
    subscription = feed.add(late)
    for seq in (6, 7):
        feed.take(make_parcel(seq))
    listen(feed, 2**53 - 1)
    feed.start(subscription, 5)
    feed.take(make_parcel(8))
    assert late.heard == [6, 7, 8]


def test_what_comes_before_anybodys_place_is_known_is_kept():
    feed = make_feed()
    listener = RecordingListener()
    subscription = feed.add(listener)
    assert feed.take(make_parcel(6)) is Taken.EARLY
    feed.start(subscription, 5)
    assert listener.heard == [6]


def test_a_listener_behind_what_began_in_memory_is_told_to_resync():
    feed = make_feed()
    late = RecordingListener()
    subscription = feed.add(late)
    early = listen(feed, 5)
    feed.take(make_parcel(6))
    feed.start(subscription, 4)
    feed.take(make_parcel(7))
    assert early.heard == [6, 7]
    assert late.heard == [("resync", 6), 7]


def test_what_the_history_says_later_settles_a_topic_that_began_in_memory():
    feed = make_feed()
    listener = listen(feed, 5)
    feed.settle(7)
    assert feed.behind
    feed.mend([make_parcel(6), make_parcel(7)], up_to=7)
    assert listener.heard == [6, 7]


def test_a_lost_history_is_a_resync_for_all_also_for_who_is_catching_up():
    feed = make_feed(last=3)
    live, held = listen(feed, 3), listen(feed, 9)
    catching_up = RecordingListener()
    subscription = feed.add(catching_up)
    feed.take(make_parcel(5))
    feed.lose()
    feed.start(subscription, 3)
    assert live.heard == [("resync", 5)]
    assert held.heard == [("resync", 9)]
    assert catching_up.heard == [("resync", 5)]
    assert not feed.behind
    feed.take(make_parcel(6))
    assert live.heard[-1] == catching_up.heard[-1] == 6


def test_progress_goes_to_whoever_is_started():
    feed = make_feed(last=0)
    live, held = listen(feed, 0), listen(feed, 4)
    catching_up = RecordingListener()
    feed.add(catching_up)
    feed.take(make_parcel(None, type_="upload-progress"))
    assert (live.heard, held.heard, catching_up.heard) == ([None], [None], [])


def test_removed_listeners_hear_nothing_and_may_be_removed_again():
    feed = make_feed(last=0)
    listener = RecordingListener()
    subscription = feed.add(listener)
    feed.start(subscription, 0)
    feed.remove(subscription)
    feed.remove(subscription)
    feed.take(make_parcel(1))
    assert (listener.heard, len(feed)) == ([], 0)


class Reader:
    """A client that catches up in steps: subscribe, read the history, begin."""

    def __init__(self, since: int | None, granted: int) -> None:
        self.listener = RecordingListener()
        self.since, self.granted = since, granted
        self.subscription: Subscription | None = None
        self.retained: Retained | None = None
        self.begun: Resumed | Refetch | None = None

    def expects(self, last: int) -> list[int]:
        """List what it should have heard once everything up to ``last`` was delivered."""
        begun = self.begun
        first = begun.seq if isinstance(begun, Refetch) or self.since is None else self.since
        return list(range(first + 1, last + 1))


class ConvergingClients(RuleBasedStateMachine):
    """
    Whatever a channel layer loses, doubles or shuffles, and however it interleaves with resumes: no gap and no double.
    """

    def __init__(self) -> None:
        super().__init__()
        self.committed = 0
        self.history = 0
        self.in_flight: list[int] = []
        self.readers: list[Reader] = []
        self.gaps: set[str] = set()
        self.healing: tuple[int, int, list[int]] | None = None
        self.hub = Hub(on_change=self.on_change, capacity=1000)

    def on_change(self, change: Change, topic: str) -> None:
        """Note gaps."""
        if change is Change.GAP:
            self.gaps.add(topic)

    @rule()
    def commit(self) -> None:
        """Something happens, but nobody has posted it yet."""
        self.committed += 1

    @precondition(lambda self: self.history < self.committed)
    @rule(copies=st.integers(0, 2))
    def post(self, copies: int) -> None:
        """The bridge takes the next event, and the channel layer carries so many copies of it."""
        self.history += 1
        self.in_flight += [self.history] * copies

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """Any message on its way arrives."""
        index = data.draw(st.integers(0, len(self.in_flight) - 1))
        self.hub.emit(make_parcel(self.in_flight.pop(index)))

    @rule(data=st.data())
    def subscribe(self, data: st.DataObject) -> None:
        """A client comes, with an outline that may be newer than what was posted."""
        granted = data.draw(st.integers(0, self.committed))
        since = data.draw(st.none() | st.integers(0, self.committed))
        reader = Reader(since, granted)
        reader.subscription = self.hub.subscribe(TOPIC, reader.listener)
        self.readers.append(reader)

    @precondition(lambda self: any(r.retained is None for r in self.readers))
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """The history answers one of those that wait for it."""
        reader = data.draw(st.sampled_from([r for r in self.readers if r.retained is None]))
        last = self.history or None
        bodies = [make_parcel(seq).body for seq in range((reader.since or 0) + 1, self.history + 1)]
        reader.retained = Retained(1, last, self.history, () if reader.since is None else bodies)
        if last is not None:
            self.hub.settle(TOPIC, last)

    @precondition(lambda self: any(r.retained is not None and r.begun is None for r in self.readers))
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """One that has its answer goes live."""
        waiting = [r for r in self.readers if r.retained is not None and r.begun is None]
        self.go_live(data.draw(st.sampled_from(waiting)))

    def go_live(self, reader: Reader) -> None:
        """Do what a connection does, in one go."""
        assert reader.subscription is not None
        assert reader.retained is not None
        emitted = reader.subscription.feed.last or 0
        request = Request(reader.since, reader.granted, granted_at_ms=2, emitted=emitted)
        reader.begun = resume.decide(request, reader.retained, Limits(replay=1000, kept=1000))
        if isinstance(reader.begun, Resumed):
            for body in reader.begun.bodies:
                reader.listener.deliver(parcel.from_body(body, topic=TOPIC))
        self.hub.start(reader.subscription, reader.begun.seq)

    @precondition(lambda self: self.gaps and self.healing is None)
    @rule()
    def ask_history(self) -> None:
        """The healer reads what is missing."""
        self.gaps.clear()
        feed = self.hub.feed(TOPIC)
        if feed is not None and feed.behind and feed.last is not None:
            self.healing = (feed.newest, feed.last, list(range(feed.last + 1, self.history + 1)))

    @precondition(lambda self: self.healing is not None)
    @rule()
    def mend(self) -> None:
        """The healer fills it in."""
        assert self.healing is not None
        newest, since, missing = self.healing
        self.healing = None
        self.hub.mend(TOPIC, [make_parcel(seq) for seq in missing], up_to=max(newest, since + len(missing)))
        feed = self.hub.feed(TOPIC)
        if feed is not None and feed.behind:
            self.gaps.add(TOPIC)

    @invariant()
    def nobody_hears_a_gap_or_a_double(self) -> None:
        """What was heard so far is a beginning of what should be heard."""
        for reader in self.readers:
            if reader.begun is not None and ("resync", 0) not in reader.listener.heard:
                heard = [seq for seq in reader.listener.heard if isinstance(seq, int)]
                assert heard == list(range(heard[0], heard[0] + len(heard))) if heard else True

    def teardown(self) -> None:
        """Let everything arrive that will, heal as a heartbeat does, and compare."""
        while self.history < self.committed:
            self.post(1)
        for reader in self.readers:
            if reader.retained is None:
                bodies = [make_parcel(seq).body for seq in range((reader.since or 0) + 1, self.history + 1)]
                reader.retained = Retained(
                    1, self.history or None, self.history, bodies if reader.since is not None else ()
                )
                if self.history:
                    self.hub.settle(TOPIC, self.history)
            if reader.begun is None:
                self.go_live(reader)
        if self.history:
            self.hub.settle(TOPIC, self.history)
        for _ in range(3):
            feed = self.hub.feed(TOPIC)
            if feed is not None and feed.behind and feed.last is not None:
                missing = range(feed.last + 1, self.history + 1)
                self.hub.mend(TOPIC, [make_parcel(seq) for seq in missing], up_to=self.history)
        began_in_memory = any(r.retained is not None and r.retained.last is None for r in self.readers)
        for reader in self.readers:
            heard = reader.listener.heard
            resyncs = [i for i, item in enumerate(heard) if isinstance(item, tuple)]
            if resyncs:
                # From there on it is complete.
                assert began_in_memory
                begins = heard[resyncs[-1]][1]
                assert heard[resyncs[-1] + 1 :] == list(range(begins + 1, self.history + 1))
            else:
                assert heard == reader.expects(self.history)


ConvergingClients.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestConvergingClients = ConvergingClients.TestCase


def test_reasons_are_those_of_the_contract():
    assert (frames.HISTORY_LOST, frames.TOO_FAR, frames.AHEAD) == ("history_lost", "too_far", "ahead")
