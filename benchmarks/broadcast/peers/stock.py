"""Channels as its tutorial has it: a consumer for each client, a group for each topic, the core Redis layer."""

import os

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path

settings.configure(
    SECRET_KEY="for this benchmark only",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [os.environ["STOCK_REDIS_URL"]]},
        }
    },
)
django.setup()


class TopicConsumer(AsyncWebsocketConsumer):
    """Hears the topics of its path."""

    async def connect(self) -> None:
        self.topics = self.scope["url_route"]["kwargs"]["topics"].split("/")
        for topic in self.topics:
            await self.channel_layer.group_add(topic, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:  # noqa: ARG002
        for topic in self.topics:
            await self.channel_layer.group_discard(topic, self.channel_name)

    async def topic_event(self, message: dict[str, str]) -> None:
        await self.send(text_data=message["text"])


async def publish(request: HttpRequest, topic: str) -> HttpResponse:
    await get_channel_layer().group_send(topic, {"type": "topic.event", "text": request.body.decode()})
    return HttpResponse(status=202)


urlpatterns = [path("pub/<topic>", publish)]

application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([re_path(r"^sub/(?P<topics>.+)$", TopicConsumer.as_asgi())]),
    }
)
