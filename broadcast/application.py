"""The ASGI application: WebSockets and event streams to a consumer for each, everything else to the HTTP side."""

from typing import Any

from channels.routing import ProtocolTypeRouter  # type: ignore[import-untyped]

from broadcast.consumers import EventConsumer
from broadcast.service import Service
from broadcast.shell import OUTLET, Receive, Scope, SendMessage
from broadcast.streams.stream import EventStream
from broadcast.web import WebApplication


def make_application(service: Service) -> Any:
    """Route by protocol; the server has checked the paths of what gets an `Outlet`."""
    web = WebApplication(service)

    async def answer(scope: Scope, receive: Receive, send: SendMessage) -> None:
        has_outlet = OUTLET in scope.get("extensions", {})
        await (EventStream(service) if has_outlet else web)(scope, receive, send)

    return ProtocolTypeRouter({"http": answer, "websocket": EventConsumer.as_asgi(service=service)})
