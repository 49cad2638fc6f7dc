"""An HTTP proxy before an S3, which answers in its place, is slow, or breaks off, as it is told."""

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_CHUNK_BYTES = 64 * 1024
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Fault:
    """
    What goes wrong with the next ``times`` requests of a method whose path and query contain ``within``.

    ``status`` and ``code``: storage answers this error instead of doing anything. ``pause_seconds``: it waits first.
    ``cut_after``: the connection is reset once so many bytes of the body have passed. ``loses_answer``: storage does as
    it was asked, and then the connection is reset.
    """

    method: str = ""
    within: str = ""
    times: int = 1
    status: int = 0
    code: str = ""
    pause_seconds: float = 0.0
    cut_after: int | None = None
    loses_answer: bool = False


class FaultyStorage:
    """Passes requests on to the S3 at ``target``, on a port of its own. ``seen`` has "METHOD /path?query" of each."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self.host, self.target_port = parts.hostname or "127.0.0.1", parts.port or 80
        self.seen: list[str] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.storage = self  # type: ignore[attr-defined]
        self._server.daemon_threads = True
        self._released = threading.Event()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def fails(self, **fault: Any) -> None:
        """Have something go wrong; see `Fault`. Faults come in the order in which they were asked for."""
        with self._lock:
            self._faults.append(Fault(**fault))

    def mend(self) -> None:
        """Forget all faults, and let go whoever waits."""
        with self._lock:
            self._faults.clear()
        self._released.set()
        self._released = threading.Event()

    def count(self, method: str, within: str = "") -> int:
        """Tell how many requests of a method came whose path and query contain this."""
        with self._lock:
            return sum(one.startswith(f"{method} ") and within in one for one in self.seen)

    def close(self) -> None:
        """End."""
        self.mend()
        self._server.shutdown()
        self._server.server_close()

    def fault_of(self, method: str, path: str) -> Fault:
        """Note a request, and say what goes wrong with it."""
        with self._lock:
            self.seen.append(f"{method} {path}")
            for fault in self._faults:
                if fault.times > 0 and fault.method in ("", method) and fault.within in path:
                    fault.times -= 1
                    return fault
        return Fault()

    def pause(self, seconds: float) -> None:
        """Wait, unless all is mended before."""
        self._released.wait(seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def handle_expect_100(self) -> bool:
        """Answer it only where the body is wanted."""
        return True

    def _handle(self) -> None:
        storage: FaultyStorage = self.server.storage  # type: ignore[attr-defined]
        fault = storage.fault_of(self.command, self.path)
        if fault.pause_seconds:
            storage.pause(fault.pause_seconds)
        if "100-continue" in self.headers.get("Expect", ""):
            self.send_response_only(100)
            self.end_headers()
        with contextlib.suppress(OSError):
            if fault.status:
                self._answer(fault)
            else:
                self._pass_on(storage, fault)
            return
        self._reset()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815 - the names are the base class's

    def _answer(self, fault: Fault) -> None:
        for _ in self._body():
            pass
        error = f"<Error><Code>{fault.code}</Code><Message>As told.</Message></Error>"
        body = f'<?xml version="1.0" encoding="UTF-8"?>{error}'.encode()
        self.send_response(fault.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")

    def _pass_on(self, storage: FaultyStorage, fault: Fault) -> None:
        connection = http.client.HTTPConnection(storage.host, storage.target_port, timeout=60)
        with contextlib.closing(connection):
            # Host as it came: the signature covers it.
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.endheaders()
            passed = 0
            for chunk in self._body():
                connection.send(chunk)
                passed += len(chunk)
                if fault.cut_after is not None and passed >= fault.cut_after:
                    raise ConnectionResetError
            answer = connection.getresponse()
            if fault.loses_answer:
                answer.read()
                raise ConnectionResetError
            self._give_back(answer)

    def _body(self) -> Iterator[bytes]:
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            chunk = self.rfile.read(min(_CHUNK_BYTES, left))
            if not chunk:
                raise ConnectionResetError
            left -= len(chunk)
            yield chunk

    def _give_back(self, answer: http.client.HTTPResponse) -> None:
        self.send_response_only(answer.status, answer.reason)
        body = answer.read()
        for name, value in answer.getheaders():
            if name.lower() not in (*_HOP_BY_HOP, "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.connection.shutdown(socket.SHUT_RD)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep quiet."""
