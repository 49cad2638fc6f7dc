"""Readers of event streams that nobody here wrote are cut, and come back: nothing lost, nothing doubled, in order."""

import uuid

import pytest

from broadcast.contracts import topics
from tests.broadcast.clients.conftest import Run
from tests.broadcast.clients.test_resuming import NEEDS_BROWSER, has_both, has_subscribed, node, post_ten_each, python
from tests.support.broadcast_process import Broadcast, ticket
from tests.support.cutting_proxy import CuttingProxy

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("command", "opened"),
    [
        python("aiohttp_stream", "stream"),
        node("eventsource", "stream", "again", needs=NEEDS_BROWSER),
        node("eventsource", "stream", "reload", needs=NEEDS_BROWSER),
    ],
)
def test_a_reader_that_is_cut_comes_back_and_misses_nothing(
    broadcast: Broadcast, proxy: CuttingProxy, run_client: Run, page_port: int, command: list[str], opened: str
):
    user, course = str(uuid.uuid4()), topics.course(uuid.uuid4())
    url = f"http://127.0.0.1:{proxy.port}/events"
    client = run_client([*command, str(page_port)], url=url, ticket=ticket(user, [course]), topic=course)
    client.wait_for(lambda c: has_subscribed(c, course))
    posted = 0
    for cut in range(3):
        posted = post_ten_each(broadcast, user, course, posted)
        proxy.go_away()
        posted = post_ten_each(broadcast, user, course, posted)
        proxy.come_back()
        posted = post_ten_each(broadcast, user, course, posted)
        client.wait_for(lambda c, so_far=posted: has_both(c, so_far))
        assert len(client.opened()) >= cut + 2
    everything = list(range(1, posted + 1))
    assert client.seqs("courseId") == everything
    assert client.seqs("userId") == everything
    assert set(client.opened()) == {opened}
    assert not [frame for frame in client.frames() if frame["type"] in {"resync", "error", "closing"}]
