"""Who is still there."""

from broadcast.pinging import Pinging


class FakePeer:
    """Answers, or does not."""

    def __init__(self, *, answers: bool) -> None:
        self.heard, self.asked_at, self.slot = True, 0.0, 0
        self.answers = answers
        self.asked = 0
        self.given_up_at: float | None = None
        self.now = 0.0

    def ask(self) -> None:
        self.asked += 1
        self.heard = self.answers

    def give_up(self) -> None:
        self.given_up_at = self.given_up_at or self.now


def turn(pinging: Pinging, peers: list[FakePeer], *, seconds: int) -> None:
    """Let time pass, a second at a time."""
    for now in range(seconds):
        for peer in peers:
            peer.now = now
        pinging.tick(now)


def test_every_peer_is_asked_once_a_period():
    pinging, peers = Pinging(period_seconds=20, timeout_seconds=30), [FakePeer(answers=True) for _ in range(50)]
    for peer in peers:
        pinging.add(peer)
    turn(pinging, peers, seconds=40)
    assert {peer.asked for peer in peers} == {2}
    assert {peer.given_up_at for peer in peers} == {None}


def test_who_does_not_answer_is_dropped_after_the_timeout_and_not_before():
    pinging, peer = Pinging(period_seconds=20, timeout_seconds=30), FakePeer(answers=False)
    pinging.add(peer)
    turn(pinging, [peer], seconds=60)
    assert peer.given_up_at == 30


def test_who_answered_the_first_ping_and_not_the_second_gets_the_whole_timeout_again():
    pinging, peer = Pinging(period_seconds=20, timeout_seconds=30), FakePeer(answers=True)
    pinging.add(peer)
    turn(pinging, [peer], seconds=10)
    peer.answers = False
    for now in range(10, 70):
        peer.now = now
        pinging.tick(now)
        if peer.given_up_at is not None:
            break
    assert peer.given_up_at == 50


def test_who_has_left_is_not_asked_and_not_dropped():
    pinging, peer = Pinging(period_seconds=20, timeout_seconds=30), FakePeer(answers=False)
    pinging.add(peer)
    pinging.tick(0)
    pinging.remove(peer)
    turn(pinging, [peer], seconds=60)
    assert (peer.asked, peer.given_up_at, len(pinging)) == (1, None, 0)
