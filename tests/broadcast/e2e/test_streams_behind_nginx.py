"""Event streams through nginx, with the configuration that the compose file mounts."""

import uuid

import pytest

from broadcast.contracts import topics
from tests.broadcast.e2e.conftest import Start
from tests.support.broadcast_process import event, ticket
from tests.support.broadcast_streams import open_stream
from tests.support.nginx import needs_nginx, nginx

pytestmark = [pytest.mark.e2e, needs_nginx]


async def test_every_event_passes_at_once_and_a_cut_is_resumed(start: Start, user: str):
    # No heartbeat pushes anything out.
    broadcast = start(BROADCAST_HEARTBEAT_SECONDS=600)
    courses = [topics.course(uuid.uuid4()) for _ in range(2)]
    granted = ticket(user, courses)
    with nginx([broadcast.port]) as port:
        async with open_stream(port, granted, *courses) as stream:
            assert stream.headers["content-type"] == "text/event-stream"
            await stream.receive_begun(3)
            for seq in range(1, 6):
                broadcast.post(event(courses[0], seq))
                assert (await stream.receive(seconds=2))["seq"] == seq
            position = stream.last_id
    broadcast.post(event(courses[0], 6), event(courses[1], 1))
    with nginx([broadcast.port]) as port:
        async with open_stream(port, granted, *courses, headers={"Last-Event-ID": position}) as stream:
            missed = await stream.receive_events(2)
            assert {(e["courseId"], e["seq"]) for e in missed} == {
                (topics.parse(courses[0]).id, 6),
                (topics.parse(courses[1]).id, 1),
            }


async def test_the_end_of_a_stream_and_a_refusal_pass_too(start: Start, user: str):
    broadcast = start()
    with nginx([broadcast.port]) as port:
        async with open_stream(port, None) as refused:
            assert refused.status == 401
        async with open_stream(port, ticket(user)) as stream:
            await stream.receive_begun(1)
            assert broadcast.process is not None
            broadcast.process.terminate()
            assert (await stream.receive_end())["code"] == 4201
            assert stream.retry_ms is not None
