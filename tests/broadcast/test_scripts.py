"""Scripts that many call at once, on a link that is away."""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from broadcast.scripts import PipelinedScript


class LinkThatIsAway:
    """Counts how often it is asked; fails later."""

    def __init__(self) -> None:
        self.asked = 0

    async def execute(self, commands: Sequence[Any]) -> list[Any]:
        """Fail."""
        self.asked += 1
        await asyncio.sleep(0)
        raise RedisConnectionError("away")


async def test_when_redis_is_away_all_that_wait_are_told_at_once():
    link = LinkThatIsAway()
    script = PipelinedScript(link, "return 1")  # type: ignore[arg-type]
    results = await asyncio.gather(*(script(keys=[], args=[]) for _ in range(200)), return_exceptions=True)
    assert [type(result) for result in results] == [RedisConnectionError] * 200
    assert link.asked == 1
