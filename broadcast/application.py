"""The ASGI application: WebSockets to the consumer, everything else to the HTTP side."""

from typing import Any

from channels.routing import ProtocolTypeRouter  # type: ignore[import-untyped]

from broadcast.consumers import EventConsumer
from broadcast.service import Service
from broadcast.web import WebApplication


def make_application(service: Service) -> Any:
    """Route by protocol; paths of WebSockets are checked by the server, before the upgrade."""
    return ProtocolTypeRouter({"http": WebApplication(service), "websocket": EventConsumer.as_asgi(service=service)})
