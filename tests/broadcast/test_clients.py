"""Who is connected."""

from broadcast.clients import Clients
from broadcast.limits import Refused


class Somebody:
    """A connection of a user."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id


def test_a_user_has_only_so_many_connections():
    clients = Clients(per_user=2, slots=1)
    ours = [Somebody("a") for _ in range(3)]
    assert [clients.add(client, 0) for client in ours] == [None, None, Refused("connections", 0)]
    assert clients.add(Somebody("b"), 0) is None
    assert len(clients) == 3
    clients.remove(ours[2])
    assert len(clients) == 3
    clients.remove(ours[0])
    clients.remove(ours[0])
    assert clients.add(ours[2], 10) is None
    assert set(clients.of_user("a")) == {ours[1], ours[2]}


def test_a_user_who_connects_again_and_again_has_to_wait():
    clients = Clients(per_user=2, slots=1, per_second=1)
    for _ in range(2):
        somebody = Somebody("a")
        assert clients.add(somebody, 0) is None
        clients.remove(somebody)
    refused = clients.add(Somebody("a"), 0)
    assert refused is not None and refused.reason == "connects"
    assert clients.add(Somebody("a"), refused.wait_ms) is None


def test_connections_are_spread_over_the_slots():
    clients = Clients(per_user=100, slots=4)
    everyone = [Somebody(str(number)) for number in range(10)]
    for client in everyone:
        clients.add(client, 0)
    sizes = [len(clients.in_slot(slot)) for slot in range(4)]
    assert max(sizes) - min(sizes) <= 1
    assert {client for slot in range(4) for client in clients.in_slot(slot)} == set(everyone)


def test_nothing_is_left_of_who_left():
    clients = Clients(per_user=1, slots=2)
    somebody = Somebody("a")
    clients.add(somebody, 0)
    clients.remove(somebody)
    assert (len(clients), clients.of_user("a"), clients.all(), clients._by_user) == (0, [], [], {})
    assert not clients.in_slot(0)
    assert not clients.in_slot(1)
