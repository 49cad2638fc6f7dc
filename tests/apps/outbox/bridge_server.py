"""A small real HTTP server in a thread: answers each POST as the test says, and keeps what came."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE_SECONDS = 10


@dataclass(frozen=True)
class Post:
    """One POST: ``connection`` counts the connections, from 1."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass(frozen=True)
class Answer:
    """What is answered. ``raw`` stands for everything, and the connection ends after it, as it does if ``hangs_up``."""

    status: int = 202
    body: bytes = b'{"accepted": 1, "duplicates": 0}'
    raw: bytes | None = None
    hangs_up: bool = False


class BridgeServer:
    """Stands where the broadcast service would."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.connections = 0
        self.answers: list[Answer | Callable[[], Answer]] = []
        self.hung_up = threading.Semaphore(0)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, *answers: Answer | Callable[[], Answer]) -> None:
        """Say what the next POSTs get; those after them get 202."""
        self.answers += answers

    def next_answer(self) -> Answer:
        answer = self.answers.pop(0) if self.answers else Answer()
        return answer if isinstance(answer, Answer) else answer()

    @contextmanager
    def running(self) -> Iterator["BridgeServer"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(PATIENCE_SECONDS)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                server.connections += 1
                self.number = server.connections

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.posts.append(Post(self.path, headers, body, self.number))
                self._send(server.next_answer())

            def do_GET(self) -> None:
                self._send(server.next_answer())

            def _send(self, answer: Answer) -> None:
                self.close_connection = answer.hangs_up or answer.raw is not None
                if answer.raw is not None:
                    self.wfile.write(answer.raw)
                    return
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def finish(self) -> None:
                super().finish()
                self.connection.shutdown(socket.SHUT_RDWR)
                server.hung_up.release()

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        return Handler
