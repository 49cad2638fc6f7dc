"""
Stands in for a part of the Procfile: ``python -m tests.support.fake_part <what>``.

``listen PORT_VARIABLE``  answers every GET with 200, at HOST and the port in that variable
``idle``                  says that it is ready, starts a child that ignores SIGTERM, and waits
``crash``                 writes why and ends
``deaf``                  ignores SIGTERM and never says that it is ready
"""

import http.server
import os
import signal
import subprocess
import sys
import time

_DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


class Answer(http.server.BaseHTTPRequestHandler):
    """200 to everything, with the environment's SECRET_KEY to tell one stack from another."""

    def do_GET(self) -> None:
        body = os.environ["SECRET_KEY"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def main(what: str, *rest: str) -> None:
    """Do it until killed."""
    if what == "listen":
        http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ[rest[0]])), Answer).serve_forever()
    if what == "crash":
        sys.exit("ERROR the disk is made of cheese")
    if what == "idle":
        child = subprocess.Popen([sys.executable, "-c", _DEAF])
        sys.stdout.write(f"child {child.pid}\nready.\n")
    if what == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdout.flush()
    time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
