"""
A connection of the bridge: the shell around a `requests.Reader`.

On the port of everything else, but beside Daphne: its way from bytes to an ASGI application and back costs thirty
times what taking one event does. One POST at a time, answered in order; what was sent ahead waits.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import cache, lru_cache
from http import HTTPStatus
from typing import Final, cast

from broadcast import publish, requests
from broadcast.entrance import Waiting
from broadcast.publish import Answer
from broadcast.requests import Expects, Foreign, Found, Post, Refused
from broadcast.service import Service

log = logging.getLogger(__name__)

HandBack = Callable[[asyncio.Transport, bytes], None]
"""Serves a connection from here on; gets what was read of it but not served."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_MOST_WAITING_BYTES: Final = 64 * 1024
_RECEIVED_BYTES: Final = 256 * 1024
_FAILED: Final = publish.refuse(500, "internal_error", "Something went wrong here; nothing is known to be taken.")


class Flushing:
    """
    Has connections write their answers once all that came in a turn of the loop was taken.

    Waking a sleeping client for each answer costs twice as much as taking what it posted. ``buffer`` is where what
    comes is received, by one connection at a time.
    """

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_RECEIVED_BYTES))
        self._waiting: list[BridgeConnection] = []

    def note(self, connection: "BridgeConnection") -> None:
        """Have a connection flushed soon."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(connection)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            connection.flush()


class BridgeConnection(asyncio.BufferedProtocol):
    """
    One connection that POSTs to the bridge.

    ``begun``: what was read of it already. ``hand_back`` gets the connection when something else is asked for on it.
    It is among the ``strangers`` until it has brought a POST with a valid signature.
    """

    def __init__(
        self, service: Service, begun: bytes, hand_back: HandBack, flushing: Flushing, strangers: Waiting
    ) -> None:
        self._service = service
        self._flushing = flushing
        self._strangers = strangers
        self._is_stranger = True
        self._begun = begun
        self._hand_back = hand_back
        self._loop = asyncio.get_running_loop()
        self._reader = requests.Reader()
        self._transport: asyncio.Transport
        self._answers: list[bytes] = []
        self._answering: asyncio.Task[None] | None = None
        self._full = self._paused = self._ended = self._over = False
        self._since = self._loop.time()
        self._idle_seconds = service.settings.http_idle_seconds
        self._busy_seconds = service.settings.bridge_read_seconds
        self._timer: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with what was read already."""
        self._transport = cast("asyncio.Transport", transport)
        self._tick()
        self._receive(self._begun)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Say where to put what comes."""
        return self._flushing.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came."""
        self._receive(bytes(self._flushing.buffer[:nbytes]))

    def eof_received(self) -> bool:
        """Be told that the client has said everything; it still gets the answer that it waits for."""
        self._ended = True
        return self._answering is not None

    def pause_writing(self) -> None:
        """Be told that the client does not read its answers."""
        self._full, self._since = True, self._loop.time()
        self._regulate()

    def resume_writing(self) -> None:
        """Be told that it does again."""
        self._full, self._since = False, self._loop.time()
        if self._answering is None:
            self._serve()
        self._regulate()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Let go of everything; what was taken stays taken."""
        self._over = True
        self._timer.cancel()
        self._strangers.forget(self)

    def abortConnection(self) -> None:  # noqa: N802
        """Be cut off, as those that wait are."""
        self._transport.abort()

    def flush(self) -> None:
        """Write the answers that wait."""
        if self._answers and not self._over:
            answers, self._answers = self._answers, []
            self._transport.write(b"".join(answers))

    def _receive(self, data: bytes) -> None:
        if self._is_stranger:
            self._strangers.note(self, self._loop.time())
        if self._reader.is_between:
            self._since = self._loop.time()
        self._reader.feed(data)
        if self._reader.is_hopeless:
            self._transport.abort()
        elif self._answering is None:
            self._serve()
        self._regulate()

    def _serve(self) -> None:
        while self._answering is None and not (self._over or self._full):
            found = self._reader.next()
            if found is None:
                break
            self._react(found)
        if self._answers and not self._over:
            self._flushing.note(self)

    def _react(self, found: Found) -> None:
        if isinstance(found, Post):
            self._take(found)
        elif isinstance(found, Expects):
            self._answers.append(_CONTINUE)
        elif isinstance(found, Foreign):
            self._give_away(found.data)
        else:
            self._refuse(found)

    def _take(self, post: Post) -> None:
        try:
            answer = publish.post(self._service, post.body, timestamp=post.timestamp, signature=post.signature)
        except Exception:
            answer = _fail()
        else:
            if self._is_stranger:
                self._recognize(answer)
        if isinstance(answer, Answer):
            self._answer(answer, post.keep_alive)
        else:
            self._answering = self._loop.create_task(self._answer_later(answer, post.keep_alive))

    def _recognize(self, answer: Answer | Awaitable[Answer]) -> None:
        # What else is wrong with a POST is said only to those whose signature is valid.
        self._is_stranger = isinstance(answer, Answer) and answer.status == HTTPStatus.UNAUTHORIZED
        if not self._is_stranger:
            self._strangers.forget(self)

    async def _answer_later(self, pending: Awaitable[Answer], keep_alive: bool) -> None:
        try:
            answer = await pending
        except Exception:
            answer = _fail()
        self._answering = None
        if not self._over:
            self._answer(answer, keep_alive and not self._ended)
            self._serve()
            self._regulate()

    def _answer(self, answer: Answer, keep_alive: bool) -> None:
        self._answers.append(_encode(answer, keep_alive, int(time.time())))
        self._since = self._loop.time()
        if not keep_alive:
            self.flush()
            self._over = True
            self._transport.close()

    def _refuse(self, refused: Refused) -> None:
        # What still comes is read and thrown away: closing at once would lose the answer on its way.
        self._service.metrics.posts.count(refused.status, 0, 0.0)
        answer = publish.refuse(refused.status, refused.code, refused.message)
        self._answers.append(_encode(answer, False, int(time.time())))

    def _give_away(self, data: bytes) -> None:
        self.flush()
        self._over = True
        if self._transport.get_write_buffer_size():
            # Two cannot write to one socket. A request that was sent ahead and not answered may be sent again.
            self._transport.close()
        else:
            self._hand_back(self._transport, data)

    def _regulate(self) -> None:
        pause = self._full or self._reader.waiting_bytes > _MOST_WAITING_BYTES
        if pause != self._paused and not self._over:
            self._paused = pause
            (self._transport.pause_reading if pause else self._transport.resume_reading)()

    def _tick(self) -> None:
        idle = self._reader.is_between and not self._full
        patience = self._idle_seconds if idle else self._busy_seconds
        if self._answering is None and self._loop.time() - self._since >= patience:
            self._transport.abort()
        self._timer = self._loop.call_later(min(self._idle_seconds, self._busy_seconds) / 4, self._tick)


def _fail() -> Answer:
    log.exception("A POST to the bridge failed")
    return _FAILED


@lru_cache(maxsize=256)
def _encode(answer: Answer, keep_alive: bool, second: int) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in (answer.headers or {}).items())
    if not keep_alive:
        fields += "Connection: close\r\n"
    head = (
        f"HTTP/1.1 {answer.status} {_phrase(answer.status)}\r\nDate: {_date(second)}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(answer.encoded)}\r\n{fields}\r\n"
    )
    return head.encode("latin-1") + answer.encoded


@cache
def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase


@lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
