"""
A real S3 with something wrong in between: a proxy before a Swift of its own, which refuses, lies, or holds requests.

Signatures stay valid, because every request reaches Swift with the headers that were signed.
"""

import contextlib
import http.client
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from coursehub.stack.datadir import DataDirectory
from coursehub.stack.swift import Swift
from coursehub.stack.watchdog import Watchdog

_OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Fault:
    """
    What happens to a request instead of being passed on.

    ``act`` says whether it is passed on after all. ``met`` counts the requests that came across it.
    """

    def __init__(self, act: "Callable[[_Request], bool]") -> None:
        self._act, self.met, self._grew = act, 0, threading.Condition()

    def meet(self, request: "_Request") -> bool:
        with self._grew:
            self.met += 1
            self._grew.notify_all()
        return self._act(request)

    def wait_until_met(self, seconds: float = 30) -> None:
        """Wait until a request has come across it."""
        with self._grew:
            assert self._grew.wait_for(lambda: self.met > 0, seconds), "nobody asked storage for this"


class Once(Fault):
    """Another fault, for the first request only."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(lambda request: fault.meet(request) if self.met == 1 else True)


class Held(Fault):
    """Requests wait until they are released; then they are passed on."""

    def __init__(self) -> None:
        self._released = threading.Event()
        super().__init__(lambda request: self._released.wait(60))

    def release(self) -> None:
        self._released.set()


def error(status: int, code: str) -> Fault:
    """Answer with an error in S3's form; with status 200 it is one of those that come inside of a success."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>No.</Message></Error>'.encode()

    def act(request: "_Request") -> bool:
        request.answer(status, [("Content-Type", "application/xml")], body)
        return False

    return Fault(act)


def lost_answer() -> Fault:
    """Have storage do what it is asked, and lose its answer."""

    def act(request: "_Request") -> bool:
        request.ask_storage()
        return request.reset()

    return Fault(act)


def broken_connection() -> Fault:
    """Lose the request."""
    return Fault(lambda request: request.reset())


class FaultyStorage:
    """
    An embedded Swift behind a proxy. ``env`` tells a `Stack` where it is; ``client()`` goes past the proxy.

    A verb is one of create, part, complete, abort, parts, put, get, head, delete, list.
    """

    def __init__(self) -> None:
        self._watchdog, data = Watchdog(grace_seconds=1), DataDirectory.temporary()
        self._watchdog.remove(data.path)
        self.swift = Swift(data, watchdog=self._watchdog, env=os.environ, fast=True)
        self._faults: dict[str, Fault] = {}
        self._proxy = _Proxy(self)
        self._thread = threading.Thread(target=self._proxy.serve_forever, daemon=True)

    def __enter__(self) -> "FaultyStorage":
        self.swift.start()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._proxy.shutdown()
        self._proxy.server_close()
        self.swift.stop()
        self._watchdog.close()

    def stop(self) -> None:
        """Kill it; what it has answered for is on the disk."""
        assert self.swift.child
        self.swift.child.reap()

    def start(self) -> None:
        """Have it back after `stop`."""
        self.swift.start()

    @property
    def env(self) -> dict[str, str]:
        """What tells clients of S3 about it."""
        url = f"http://127.0.0.1:{self._proxy.server_port}"
        return {**self.swift.env, "S3_ENDPOINT_URL": url, "S3_PUBLIC_ENDPOINT_URL": url}

    @property
    def bucket(self) -> str:
        return self.swift.env["S3_BUCKET"]

    def client(self) -> Any:
        """Give a boto3 client that meets no faults."""
        return self.swift.client()

    @contextmanager
    def having(self, fault: Fault, *verbs: str) -> Iterator[Fault]:
        """Let requests of these verbs meet a fault during a block; no verbs: all requests."""
        self._faults |= dict.fromkeys(verbs or ("any",), fault)
        try:
            yield fault
        finally:
            for verb in verbs or ("any",):
                del self._faults[verb]
            if isinstance(fault, Held):
                fault.release()

    def fault_for(self, verb: str) -> Fault | None:
        return self._faults.get(verb) or self._faults.get("any")


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, storage: FaultyStorage) -> None:
        self.storage = storage
        super().__init__(("127.0.0.1", 0), _Request)


class _Request(BaseHTTPRequestHandler):
    """One connection's requests, one after the other."""

    protocol_version = "HTTP/1.1"
    server: _Proxy

    def _pass_on(self) -> None:
        # Read first: a connection that is closed with unread data is reset.
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.storage.fault_for(_verb(self.command, self.path))
        if fault is None or fault.meet(self):
            self.answer(*self.ask_storage())

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - the names that the base class calls

    def ask_storage(self) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.storage.swift.port, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    connection.putheader(name, value)
            connection.endheaders(self._body)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        except OSError:
            return 503, [], b""
        finally:
            connection.close()

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _OF_THE_CONNECTION or (self.command == "HEAD" and name.lower() == "content-length"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reset(self) -> bool:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
        return False

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # whoever asked is gone
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        """Say nothing."""


def _verb(method: str, path: str) -> str:
    url = urlsplit(path)
    query, has_key = parse_qs(url.query, keep_blank_values=True), url.path.count("/") > 1
    if "uploadId" in query:
        of_parts = "part" if "partNumber" in query else "create"
        return {"PUT": of_parts, "POST": "complete", "DELETE": "abort", "GET": "parts"}[method]
    if "uploads" in query and method == "POST":
        return "create"
    return {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "delete"}[method] if has_key else "list"
