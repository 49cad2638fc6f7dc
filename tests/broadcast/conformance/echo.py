"""
``python -m tests.broadcast.conformance.echo PORT WAY REDIS_URL``: the product's server and protocols around an
application that sends back what comes.

WAY is how it sends: ``asgi``, by ``websocket.send``, as Channels does; or ``outlet``, past Channels and Daphne, as the
hub does.
"""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from channels.routing import ProtocolTypeRouter

from broadcast.config import Settings
from broadcast.outlet import Outlet
from broadcast.parcel import binary_frame, text_frame
from broadcast.server import BroadcastServer
from broadcast.service import Service
from broadcast.shell import OUTLET
from broadcast.web import WebApplication

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""The largest messages of the suite have 16 MiB; what a client may send to the real service is far less."""

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]


async def by_asgi(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
    """Send messages back as ASGI has it."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        kind = "text" if message.get("text") is not None else "bytes"
        await send({"type": "websocket.send", kind: message[kind]})


async def by_outlet(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
    """Send messages back as whole frames, the way events go."""
    outlet: Outlet = scope["extensions"][OUTLET]
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        outlet.write(text_frame(text.encode()) if text is not None else binary_frame(message["bytes"]))
        outlet.resume_reading()


class EchoServer(BroadcastServer):
    """The server, with another application than the service's own."""

    def __init__(self, settings: Settings, application: Any) -> None:
        service = Service(settings)
        super().__init__(settings, service)
        self.application = ProtocolTypeRouter({"http": WebApplication(service), "websocket": application})


def main(port: int, way: str, redis_url: str) -> int:
    """Serve until told to stop."""
    settings = Settings(
        redis_url=redis_url,
        channel_layer_urls=(redis_url,),
        broadcast_secret="none",
        ticket_secret="none",
        port=port,
        frame_bytes=MAX_MESSAGE_BYTES,
        send_buffer_bytes=MAX_MESSAGE_BYTES,
        frames_per_second=1_000_000,
        topics_per_connection=1_000_000,
    )
    return EchoServer(settings, {"asgi": by_asgi, "outlet": by_outlet}[way]).run()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
