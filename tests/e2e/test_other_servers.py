"""The same parts on other people's servers: PostgreSQL 15, Redis 7, and RabbitMQ as the broker."""

import pytest

from coursehub.stack.stack import Stack
from demo.client import Api, Listener
from tests.support import debian
from tests.support.replay import replay
from tests.support.stack import PASSWORD

pytestmark = pytest.mark.e2e


@pytest.mark.skipif(not debian.is_installed(), reason="needs postgresql-15, redis-server and rabbitmq-server")
def test_a_save_takes_its_way_over_postgresql_15_redis_7_and_rabbitmq() -> None:
    with debian.servers() as urls, Stack(given={**urls, "THROTTLE_USER": "0"}, fast=True, login=False) as stack:
        stack.wait_ready()
        api = Api(stack.api_url).register("rosa", PASSWORD)
        assert api.get("/readyz").body == {"status": "ready", "degraded": []}
        created = api.post("courses/", {"title": "Elsewhere"})
        api.done(created)
        course = created.data["courseId"]
        before = api.get(f"courses/{course}/outline/").data
        listener = Listener.of(api, course, since=before["seq"])
        stack.kill("relay")  # so that what is done was done over the broker

        changes = [{"action": "chapter.create", "title": str(n), "position": 0} for n in range(100)]
        saved = api.post(f"courses/{course}/save/", {"changes": changes})
        listener.wait_for_event("batch-operation-complete", saved.operation_id, seconds=30)

        after = api.get(f"courses/{course}/outline/").data
        assert replay(before, listener.events(f"course:{course}")) == after
        assert len(after["chapters"]) == 100
