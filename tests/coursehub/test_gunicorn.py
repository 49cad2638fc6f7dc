"""How gunicorn is told to serve the API."""

import runpy
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

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
def test_a_variable_that_cannot_be_used_ends_it_with_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    # The settings are read once in a process.
    monkeypatch.delitem(sys.modules, "coursehub.settings")
    monkeypatch.delitem(sys.modules, "coursehub.settings.environment")
    with pytest.raises(SystemExit, match=f"^{name} must be "):
        runpy.run_path(str(CONFIG))
