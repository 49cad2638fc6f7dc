"""``aiohttp``, with the ticket in the query."""

import asyncio

import aiohttp

from tests.broadcast.clients.client import RETRY_SECONDS, Follower, say


async def follow(follower: Follower) -> None:
    """Follow until killed."""
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.ws_connect(follower.resuming_url(ticket=follower.ticket)) as socket:
                    say(opened=socket.protocol)
                    await socket.send_str(follower.subscribe())
                    async for message in socket:
                        follower.take(message.data)
                    say(closed=socket.close_code)
            except (OSError, aiohttp.ClientError) as problem:
                say(closed=repr(problem))
            await asyncio.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    asyncio.run(follow(Follower()))
