"""How gunicorn is told to serve the API."""

import json
import logging
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.base import Worker

import coursehub
from apps.core import health
from coursehub import tuning
from coursehub.threads import WarmThreads

CONFIG = Path(tuning.__file__).with_name("gunicorn.conf.py")


def test_a_worker_has_warm_threads_as_many_as_it_was_told(monkeypatch: pytest.MonkeyPatch):
    settled: list[bool] = []
    monkeypatch.setattr(tuning, "settle", lambda: settled.append(True))
    worker = SimpleNamespace(pid=0, tpool=None, cfg=SimpleNamespace(threads=3))
    before = signal.getsignal(signal.SIGTERM)
    try:
        runpy.run_path(str(CONFIG))["post_worker_init"](worker)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert isinstance(worker.tpool, WarmThreads)
    assert worker.tpool._max_workers == 3
    assert settled


@pytest.fixture
def unread_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings as they are before anything has read them: they are read once in a process."""
    monkeypatch.delitem(sys.modules, "coursehub.settings")
    monkeypatch.delitem(sys.modules, "coursehub.settings.environment")
    monkeypatch.delattr(coursehub, "settings")


@pytest.mark.parametrize(
    ("host", "bind"),
    [("0.0.0.0", "0.0.0.0:8000"), ("::", "[::]:8000"), ("::1", "[::1]:8000"), ("[::1]", "[::1]:8000")],  # noqa: S104
)
@pytest.mark.usefixtures("unread_settings")
def test_an_address_of_ipv6_may_stand_in_brackets(monkeypatch: pytest.MonkeyPatch, host: str, bind: str):
    monkeypatch.setenv("HOST", host)
    assert runpy.run_path(str(CONFIG))["bind"] == bind


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEB_THREADS", "abc"),
        ("WEB_CONCURRENCY", "0"),
        ("PORT", "x"),
        ("API_DRAIN_SECONDS", "x"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
@pytest.mark.usefixtures("unread_settings")
def test_a_variable_that_cannot_be_used_ends_it_with_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=f"^{name} must be "):
        runpy.run_path(str(CONFIG))


@pytest.mark.parametrize(
    ("problem", "status", "code", "message"),
    [
        (errors.InvalidHeader("X: \x01é"), 400, "validation_error", "Invalid HTTP Header: 'X: \\x01é'"),
        (errors.LimitRequestLine(9000, 8190), 414, "validation_error", "Request Line is too large (9000 > 8190)"),
        (errors.LimitRequestHeaders("too many"), 431, "validation_error", "Error parsing headers: 'too many'"),
        (errors.UnsupportedTransferCoding("gzip"), 501, "validation_error", "Unsupported transfer coding: 'gzip'"),
        (ZeroDivisionError(), 500, "internal_error", "Something went wrong."),
    ],
)
def test_what_never_gets_to_django_is_answered_in_the_one_form_of_errors(
    monkeypatch: pytest.MonkeyPatch, problem: Exception, status: int, code: str, message: str
):
    monkeypatch.setattr(util, "write_error", None)
    runpy.run_path(str(CONFIG))
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    with ours, theirs:
        Worker.handle_error(SimpleNamespace(log=logging.getLogger("test")), None, ours, ("127.0.0.1", 1), problem)
        head, _, body = theirs.recv(4096).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert {b"Content-Type: application/json", b"Content-Length: %d" % len(body)} <= set(head.split(b"\r\n"))
    assert json.loads(body) == {"success": False, "error": {"code": code, "message": message}}


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """When a worker would have stopped that drains for 0.3 s; it is this process."""
    monkeypatch.setattr(tuning, "settle", lambda: None)
    monkeypatch.setenv("API_DRAIN_SECONDS", "0.3")
    stops: list[float] = []
    before = signal.signal(signal.SIGTERM, lambda *_: stops.append(time.monotonic()))
    runpy.run_path(str(CONFIG))["post_worker_init"](
        SimpleNamespace(pid=os.getpid(), tpool=None, cfg=SimpleNamespace(threads=1))
    )
    yield stops
    signal.signal(signal.SIGTERM, before)
    health._draining.clear()


def test_a_second_sigterm_does_not_cut_the_drain_short(stops: list[float]):
    began = time.monotonic()
    for _ in range(3):  # from the process manager to all of the group, and from gunicorn's master
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.02)
    assert health._draining.is_set()
    while not stops and time.monotonic() < began + 10:
        time.sleep(0.01)

    assert len(stops) == 1
    assert stops[0] - began >= 0.3


def test_a_sigterm_after_the_drain_is_heard(stops: list[float]):
    os.kill(os.getpid(), signal.SIGTERM)
    while not stops:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)

    assert len(stops) == 2
