"""``websockets``, with the ticket in a header."""

import asyncio

import websockets
from websockets.asyncio.client import connect

from tests.broadcast.clients.client import RETRY_SECONDS, Follower, say


async def follow(follower: Follower) -> None:
    """Follow until killed."""
    headers = {"Authorization": f"Bearer {follower.ticket}"}
    while True:
        try:
            url = follower.resuming_url()
            async with connect(url, additional_headers=headers, subprotocols=["coursehub.v1"]) as socket:
                say(opened=socket.subprotocol)
                await socket.send(follower.subscribe())
                async for text in socket:
                    follower.take(text)
        except (OSError, websockets.WebSocketException) as problem:
            say(closed=repr(problem))
        await asyncio.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    asyncio.run(follow(Follower()))
