"""
Bytes for a connection that was closed never reach another one.

Descriptors are used again at once, on purpose: each new connection gets the number of one that was closed a moment ago,
while audiences that hold the old one are still being written to.
"""

import gc
import random

import pytest

from broadcast.hub import Hub
from broadcast.sending.loops import SendLoop
from broadcast.sending.turn import Turn
from tests.broadcast.sending.test_turn import make_hub, seqs
from tests.support.broadcast_fakes import RecordingListener, make_parcel
from tests.support.broadcast_wires import WireClient

TOPICS = [f"course:01890a5d-ac96-774b-bcce-b302099a805{digit}" for digit in "0123456789abcdef"]


class Churner(WireClient):
    """A client of one topic, which remembers the event after which it came."""

    def __init__(self, turn: Turn, hub: Hub, topic: str, begins: int, *, small: bool = False) -> None:
        super().__init__(turn, small=small)
        self.number = self.wire.near.fileno()
        self.topic, self.begins = topic, begins
        self.subscription = hub.subscribe(topic, RecordingListener(), self.outlet)
        hub.settle(topic, begins)
        hub.start(self.subscription, begins)


class Crowd:
    """Clients that come and go while events of all topics fly."""

    def __init__(self, turn: Turn, seed: int) -> None:
        self.turn, self.hub, self.random = turn, make_hub(turn), random.Random(seed)
        self.last = dict.fromkeys(TOPICS, 0)
        self.here: list[Churner] = []
        self.leaving: list[Churner] = []
        self.numbers: list[int] = []
        self.checked = 0

    def come(self) -> None:
        """Let one in."""
        topic = self.random.choice(TOPICS)
        self.here.append(Churner(self.turn, self.hub, topic, self.last[topic], small=self.random.random() < 0.3))
        self.numbers.append(self.here[-1].number)

    def go(self) -> None:
        """Lose one: its descriptor is free at once, but the hub hears of it only later."""
        client = self.here.pop(self.random.randrange(len(self.here)))
        client.lose()
        self.leaving.append(client)

    def forget(self) -> None:
        """Let the hub hear of those that are gone, as their consumers tell it."""
        for client in self.leaving:
            self.hub.unsubscribe(client.subscription)
            self.check(client)
            client.wire.close()
        self.leaving.clear()

    def emit(self) -> None:
        """Let something happen in some topic."""
        topic = self.random.choice(TOPICS)
        self.last[topic] += 1
        self.hub.emit(make_parcel(self.last[topic], topic=topic, title="x" * self.random.choice([1, 1, 4000])))

    def check(self, client: Churner, *, whole: bool = False) -> None:
        """Hold what one received against what it may have received: its topic, from when it came, in order."""
        data = client.read_all() if whole else client.wire.received()
        got = seqs(data if whole else whole_frames(data))
        assert [digit for digit, _ in got] == [client.topic[-1]] * len(got)
        assert [seq for _, seq in got] == list(range(client.begins + 1, client.begins + 1 + len(got)))
        self.checked += len(got)
        if whole:
            assert len(got) == self.last[client.topic] - client.begins


def whole_frames(data: bytes) -> bytes:
    """Cut off a frame that had begun when its connection was closed."""
    end = 0
    while end + 4 <= len(data):
        size = data[end + 1] if data[end + 1] < 126 else int.from_bytes(data[end + 2 : end + 4], "big")
        following = end + size + (2 if data[end + 1] < 126 else 4)
        if following > len(data):
            break
        end = following
    return data[:end]


@pytest.mark.parametrize("seed", range(3))
def test_bytes_for_a_closed_connection_never_reach_another_one(turn: Turn, seed: int):
    crowd = Crowd(turn, seed)
    for _ in range(30):
        crowd.come()
    for _ in range(3000):
        match crowd.random.randrange(10):
            case 0 | 1:
                crowd.go()
                crowd.come()
            case 2:
                crowd.forget()
            case 3 | 4:
                turn.flush()
            case 5:
                crowd.random.choice(crowd.here).transport.flush()
            case _:
                crowd.emit()
    turn.flush()
    crowd.forget()
    for client in crowd.here:
        crowd.check(client, whole=True)
        client.wire.close()
    assert crowd.checked > 500
    assert len(set(crowd.numbers)) < len(crowd.numbers) / 4, "descriptors were hardly used again"


def test_a_line_is_not_given_out_again_while_an_audience_holds_it(loop: SendLoop):
    turn = Turn(loop, call_soon=lambda _: None)
    crowd = Crowd(turn, 0)
    gone = Churner(turn, crowd.hub, TOPICS[0], 0)
    crowd.hub.emit(make_parcel(1, topic=TOPICS[0]))
    line = gone.outlet.line
    gone.lose()
    crowd.hub.unsubscribe(gone.subscription)
    del gone
    gc.collect()
    new = Churner(turn, crowd.hub, TOPICS[1], 0)
    assert new.outlet.line != line
    turn.flush()
    assert new.wire.received() == b""
    gc.collect()
    assert Churner(turn, crowd.hub, TOPICS[2], 0).outlet.line == line
