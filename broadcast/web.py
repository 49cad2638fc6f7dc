"""The HTTP side of the service, beside the WebSockets on the same port."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from broadcast import publish
from broadcast.contracts import bridge, frames, streams
from broadcast.limits import Refused
from broadcast.publish import Answer, refuse, unavailable
from broadcast.service import Service
from broadcast.streams import cors

NOT_FOUND: Final = refuse(404, "not_found", "There is nothing here.")
_DRAINING: Final = "This process is leaving."
_FULL_RETRY_AFTER_SECONDS: Final = 30

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Handler = Callable[[Scope, Receive], Awaitable[Answer | bytes]]
"""Answers a request; bytes are plain text."""


class WebApplication:
    """The ASGI application for everything that is not a WebSocket."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._routes: dict[str, dict[str, Handler]] = {
            bridge.PATH: {"POST": self._post},
            frames.PATH: {"GET": self._refuse_upgrade},
            streams.PATH: {"GET": self._refuse_stream, "OPTIONS": self._preflight},
            "/healthz": {"GET": self._healthz, "HEAD": self._healthz},
            "/readyz": {"GET": self._readyz, "HEAD": self._readyz},
            "/metrics": {"GET": self._metrics, "HEAD": self._metrics},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        answer = await self._answer(scope, receive)
        if isinstance(answer, bytes):
            await _send(send, 200, CONTENT_TYPE_PLAIN_0_0_4, answer)
        else:
            await respond(send, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | bytes:
        methods = self._routes.get(scope["path"])
        if methods is None:
            return NOT_FOUND
        handle = methods.get(scope["method"])
        if handle is None:
            allowed = {"Allow": ", ".join(methods)}
            return refuse(405, "method_not_allowed", "This method is not for this path.", headers=allowed)
        return await handle(scope, receive)

    async def _post(self, scope: Scope, receive: Receive) -> Answer:
        # Only what a connection asks for after something else comes here: see `broadcast.ingest`.
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        timestamp = headers.get(bridge.TIMESTAMP_HEADER.lower(), "")
        signature = headers.get(bridge.SIGNATURE_HEADER.lower(), "")
        body = await _read_body(receive)
        answer = publish.post(self._service, body, timestamp=timestamp, signature=signature)
        return answer if isinstance(answer, Answer) else await answer

    async def _refuse_upgrade(self, _scope: Scope, _receive: Receive) -> Answer:
        # The server lets only those upgrades come here that are to be refused, and requests that are none.
        if self._service.draining:
            return unavailable(_DRAINING)
        if not self._service.ready:
            return unavailable("The history is away.")
        headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
        return refuse(426, "upgrade_required", "This is a WebSocket.", headers=headers)

    async def _refuse_stream(self, _scope: Scope, _receive: Receive) -> Answer:
        # `broadcast.server` hands connections over with their outlets, and then they do not come here.
        return refuse(501, "not_implemented", "Event streams need this service's own server.")

    async def _preflight(self, scope: Scope, _receive: Receive) -> Answer:
        return cors.answer_preflight(scope, self._service.settings.cors_allowed_origins)

    async def _healthz(self, _scope: Scope, _receive: Receive) -> Answer:
        return Answer(200, {"success": True, "data": {"status": "ok"}})

    async def _readyz(self, _scope: Scope, _receive: Receive) -> Answer:
        if self._service.draining:
            return unavailable(_DRAINING)
        if not await self._service.check_ready():
            return unavailable("Redis does not answer, or has only just come back.")
        return Answer(200, {"success": True, "data": {"status": "ready"}})

    async def _metrics(self, _scope: Scope, _receive: Receive) -> bytes:
        return self._service.metrics.render()


def too_many(refused: Refused) -> Answer:
    """Refuse who is over a limit of its address, until it may be tried again."""
    seconds = max(1, -(-refused.wait_ms // 1000)) if refused.wait_ms else _FULL_RETRY_AFTER_SECONDS
    message = "There are too many connections from this address, or they come too fast."
    return refuse(429, "throttled", message, headers={"Retry-After": str(seconds)})


def encode(answer: Answer) -> bytes:
    """Write an answer as HTTP/1.1, for a connection that ends with it."""
    fields = {"Content-Type": "application/json", "Content-Length": str(len(answer.encoded)), "Connection": "close"}
    lines = [f"{name}: {value}\r\n" for name, value in {**fields, **(answer.headers or {})}.items()]
    head = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n{''.join(lines)}\r\n"
    return head.encode("latin-1") + answer.encoded


async def _read_body(receive: Receive) -> bytes:
    # The server has bounded it already.
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def response_start(status: int, headers: Mapping[str, str]) -> dict[str, Any]:
    """Make the message that begins a response (ASGI)."""
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": encoded}


async def respond(send: Send, answer: Answer) -> None:
    """Send an answer (ASGI)."""
    await _send(send, answer.status, "application/json", answer.encoded, answer.headers)


async def _send(
    send: Send, status: int, content_type: str, body: bytes, headers: Mapping[str, str] | None = None
) -> None:
    fields = {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}
    await send(response_start(status, fields))
    await send({"type": "http.response.body", "body": body})
