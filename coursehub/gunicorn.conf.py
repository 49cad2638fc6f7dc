# ruff: noqa: N999
"""How gunicorn serves the API: threads, since a request mostly waits for the database."""

import json
import os
import shutil
import signal
import tempfile
import threading
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from gunicorn import util
from gunicorn.http.unreader import SocketUnreader

from apps.core import errors

try:
    # All settings are read by that: what is wrong with them is said here once, and not by each worker with a traceback.
    from coursehub import settings
    from coursehub.settings import environment as env

    bind = f"{settings.HOST}:{env.port('PORT', 8000)}"
    workers = env.number("WEB_CONCURRENCY", 1, least=1)
    threads = env.number("WEB_THREADS", 24, least=1)
    _DRAIN_SECONDS = env.seconds("API_DRAIN_SECONDS", 0.5)
except ImproperlyConfigured as problem:
    raise SystemExit(str(problem)) from None

worker_class = "gthread"
keepalive = 75
graceful_timeout = 30
timeout = 60
preload_app = False
logconfig_dict = settings.LOGGING
accesslog = None  # apps.core.middleware writes one, in JSON and with ids
control_socket_disable = True
limit_request_line = 8190

# Uploads read pieces of this size. By default gunicorn receives up to 1 MiB at once and copies all that is left of it
# for each piece: eight times the CPU.
SocketUnreader.max_body_chunk = 64 * 1024
limit_request_field_size = 17 * 1024  # Upload-Metadata, with a name of whatever length


def _write_error(connection: Any, status: int, reason: str, message: str) -> None:
    """Answer a request that never gets to Django, since it cannot be read, in the form that all errors have."""
    kind = errors.CourseHubError if status == 500 else errors.Invalid
    body = json.dumps({"success": False, "error": kind(message).as_dict()})
    fields = f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    util.write_nonblock(connection, f"HTTP/1.1 {status} {reason}\r\n{fields}\r\n{body}".encode("ascii"))


# gunicorn's own writes HTML.
util.write_error = _write_error


def on_starting(server: Any) -> None:
    """Give the workers a directory to count in together."""
    if workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="coursehub-metrics-")
        server.coursehub_metrics = os.environ["PROMETHEUS_MULTIPROC_DIR"]


def on_exit(server: Any) -> None:
    """Remove it."""
    if hasattr(server, "coursehub_metrics"):
        shutil.rmtree(server.coursehub_metrics, ignore_errors=True)


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Forget the gauges of a worker that is gone."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def post_worker_init(worker: Any) -> None:
    """Keep threads warm; on SIGTERM say "not ready" for a moment, so that load balancers look elsewhere in time."""
    from coursehub import tuning
    from coursehub.threads import WarmThreads

    tuning.settle()
    worker.tpool = WarmThreads(worker.cfg.threads)
    stop: Any = signal.getsignal(signal.SIGTERM)
    begun = over = False

    def drain(number: int, frame: Any) -> None:
        nonlocal begun
        if over:
            stop(number, frame)
        elif not begun:
            # Another SIGTERM may come at once: where a process manager sends it to all, the master does, too.
            begun = True
            from apps.core import health

            health.drain()
            timer = threading.Timer(_DRAIN_SECONDS, end)
            timer.daemon = True
            timer.start()

    def end() -> None:
        nonlocal over
        over = True
        os.kill(worker.pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, drain)
