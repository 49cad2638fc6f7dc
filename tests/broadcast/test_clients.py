"""Who is connected."""

from broadcast.clients import Clients


class Somebody:
    """A connection of a user."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id


def test_a_user_has_only_so_many_connections():
    clients = Clients(per_user=2, slots=1)
    ours = [Somebody("a") for _ in range(3)]
    assert [clients.add(client) for client in ours] == [True, True, False]
    assert clients.add(Somebody("b"))
    assert len(clients) == 3
    clients.remove(ours[2])
    assert len(clients) == 3
    clients.remove(ours[0])
    clients.remove(ours[0])
    assert clients.add(ours[2])
    assert set(clients.of_user("a")) == {ours[1], ours[2]}


def test_connections_are_spread_over_the_slots():
    clients = Clients(per_user=100, slots=4)
    everyone = [Somebody(str(number)) for number in range(10)]
    for client in everyone:
        clients.add(client)
    sizes = [len(clients.in_slot(slot)) for slot in range(4)]
    assert max(sizes) - min(sizes) <= 1
    assert {client for slot in range(4) for client in clients.in_slot(slot)} == set(everyone)


def test_nothing_is_left_of_who_left():
    clients = Clients(per_user=1, slots=2)
    somebody = Somebody("a")
    clients.add(somebody)
    clients.remove(somebody)
    assert (len(clients), clients.of_user("a"), clients.all()) == (0, [], [])
    assert not clients.in_slot(0)
    assert not clients.in_slot(1)
