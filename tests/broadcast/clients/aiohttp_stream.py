"""``aiohttp``, reading an event stream line by line."""

import asyncio
import json
import sys
from typing import Any

import aiohttp

from tests.broadcast.clients.client import RETRY_SECONDS, say
from tests.support.broadcast_streams import Messages


async def follow(url: str, ticket: str, topic: str) -> None:
    """Follow until killed."""
    messages = Messages()
    # The same query each time, as a browser sends it.
    asked: dict[str, Any] = {"params": {"topics": topic, "lastEventId": f"{topic}=0"}}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        while True:
            resuming = {"Last-Event-ID": messages.last_id} if messages.last_id else {}
            headers = {"Authorization": f"Bearer {ticket}", **resuming}
            try:
                async with session.get(url, headers=headers, raise_for_status=True, **asked) as answer:
                    say(opened="stream")
                    async for line in answer.content:
                        if (frame := messages.take(line.decode().removesuffix("\n"))) is not None:
                            say(frame=frame)
                say(closed=None)
            except (OSError, aiohttp.ClientError) as problem:
                say(closed=repr(problem))
            messages.begin_again()
            await asyncio.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    asyncio.run(follow(**json.loads(sys.argv[1])))
