"""Clients that nobody here wrote are cut, and come back: nothing is lost, nothing doubled, and all in order."""

import sys
import uuid

import pytest

from broadcast.contracts import topics
from tests.broadcast.clients.conftest import Run, RunningClient
from tests.support import peers
from tests.support.broadcast_process import Broadcast, event, ticket
from tests.support.cutting_proxy import CuttingProxy

pytestmark = pytest.mark.e2e

CLIENTS = peers.CLIENTS
NEEDS_NODE = pytest.mark.skipif(peers.why_no_node() is not None, reason=str(peers.why_no_node()))
NEEDS_BROWSER = pytest.mark.skipif(peers.why_no_browser() is not None, reason=str(peers.why_no_browser()))
V1 = "coursehub.v1"


def python(name: str, subprotocol: str | None):
    """A client in Python."""
    return pytest.param([sys.executable, f"tests.broadcast.clients.{name}"], subprotocol, id=name)


def node(name: str, subprotocol: str, *more: str, needs: pytest.MarkDecorator = NEEDS_NODE):
    """A client in JavaScript."""
    command = ["node", str(CLIENTS / f"{name}.mjs"), *more]
    return pytest.param(command, subprotocol, id="-".join([name, *more]), marks=needs)


@pytest.mark.parametrize(
    ("command", "subprotocol"),
    [
        python("websockets_client", V1),
        python("aiohttp_client", None),
        node("ws", V1),
        node("reconnecting-websocket", V1),
        node("browser", V1, "subprotocol", needs=NEEDS_BROWSER),
        node("browser", "", "query", needs=NEEDS_BROWSER),
    ],
)
def test_a_client_that_is_cut_comes_back_and_misses_nothing(
    broadcast: Broadcast, proxy: CuttingProxy, run_client: Run, command: list[str], subprotocol: str | None
):
    user, course = str(uuid.uuid4()), topics.course(uuid.uuid4())
    url = f"ws://127.0.0.1:{proxy.port}/ws/"
    client = run_client(command, url=url, ticket=ticket(user, [course]), topic=course)
    client.wait_for(lambda c: has_subscribed(c, course))
    posted = 0
    for cut in range(3):
        posted = post_ten_each(broadcast, user, course, posted)
        proxy.go_away()
        # While nobody can get through, a lot more happens.
        posted = post_ten_each(broadcast, user, course, posted)
        proxy.come_back()
        posted = post_ten_each(broadcast, user, course, posted)
        client.wait_for(lambda c, so_far=posted: has_both(c, so_far))
        assert len(client.opened()) >= cut + 2
    everything = list(range(1, posted + 1))
    assert client.seqs("courseId") == everything
    assert client.seqs("userId") == everything
    assert set(client.opened()) == {subprotocol}
    assert not [frame for frame in client.frames() if frame["type"] in {"resync", "error", "closing"}]


def has_subscribed(client: RunningClient, topic: str) -> bool:
    """Say whether a client's first subscription stands."""
    return any(f["type"] == "subscribed" and f["topic"] == topic for f in client.frames())


def has_both(client: RunningClient, seq: int) -> bool:
    """Say whether a client got as far as this seq, on both its topics."""
    return seq in client.seqs("courseId") and seq in client.seqs("userId")


def post_ten_each(broadcast: Broadcast, user: str, course: str, after: int) -> int:
    """Post the next ten events of both topics, one by one; returns the last seq."""
    for seq in range(after + 1, after + 11):
        assert broadcast.post(event(topics.user(user), seq), event(course, seq))[0] == 202
    return after + 10
