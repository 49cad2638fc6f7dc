"""
Autobahn|Testsuite against the echo application, and what is expected of each of its cases.

``python -m tests.broadcast.conformance.autobahn`` prints the table of ``docs/conformance.md``.
"""

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support import peers
from tests.support.broadcast_valkey import Valkey, free_port

WAYS = ("asgi", "outlet")
CASES = 517
NOT_NEGOTIATED = "permessage-deflate is never negotiated: a frame is made once for all clients"
NOT_JUDGED = "the suite shows what happens, and judges nothing: RFC 6455 leaves it open"
EXCLUDED = {
    "12": ("UNIMPLEMENTED", NOT_NEGOTIATED),
    "13": ("UNIMPLEMENTED", NOT_NEGOTIATED),
    "7.1.6": ("INFORMATIONAL", NOT_JUDGED),
    "7.13": ("INFORMATIONAL", NOT_JUDGED),
}
"""Cases, by number or what their numbers begin with, that end otherwise than ``OK``; how, and why."""

_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one case ended: what was received and sent, and how the connection was closed."""

    behaviour: str
    closing: str


def expected(case: str) -> Verdict:
    """Say how a case has to end."""
    for number, (verdict, _) in EXCLUDED.items():
        if case == number or case.startswith(number + "."):
            return Verdict(verdict, "INFORMATIONAL" if verdict == "INFORMATIONAL" else "OK")
    return Verdict("OK", "OK")


def run(way: str) -> dict[str, Verdict]:
    """Run every case against the echo application; ``way``: one of `WAYS`."""
    with TemporaryDirectory(prefix="coursehub-wstest-") as folder, _echo(way, Path(folder)) as url:
        spec = Path(folder) / "spec.json"
        spec.write_text(json.dumps({"outdir": folder, "servers": [{"url": url}], "cases": ["*"], "exclude-cases": []}))
        command = peers.wstest("--mode", "fuzzingclient", "--spec", str(spec))
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=_SECONDS)
        (cases,) = json.loads((Path(folder) / "index.json").read_text()).values()
    return {case: Verdict(entry["behavior"], entry["behaviorClose"]) for case, entry in cases.items()}


@contextlib.contextmanager
def _echo(way: str, folder: Path) -> Iterator[str]:
    valkey, port = Valkey().start(), free_port()
    command = [sys.executable, "-m", "tests.broadcast.conformance.echo", str(port), way, valkey.url]
    with (folder / "echo.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=peers.ROOT, stdout=log, stderr=log)
    try:
        _wait_until_ready(port)
        yield f"ws://127.0.0.1:{port}/ws/"
    finally:
        process.kill()
        process.wait()
        valkey.close()


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 20
    while not _is_ready(port):
        if time.monotonic() > deadline:
            raise TimeoutError("the echo server does not start")
        time.sleep(0.05)


def _is_ready(port: int) -> bool:
    with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    return False


def _chapter(case: str) -> int:
    return int(case.partition(".")[0])


def table(results: Mapping[str, Mapping[str, Verdict]]) -> str:
    """Render how many cases of each chapter ended how, each way."""
    lines = ["| chapter | " + " | ".join(results) + " |", "|---" * (1 + len(results)) + "|"]
    for chapter in sorted({_chapter(case) for verdicts in results.values() for case in verdicts}):
        counts = [
            Counter(verdict.behaviour for case, verdict in verdicts.items() if _chapter(case) == chapter)
            for verdicts in results.values()
        ]
        cells = [", ".join(f"{count} {behaviour}" for behaviour, count in sorted(c.items())) for c in counts]
        lines.append(f"| {chapter} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table({way: run(way) for way in WAYS}) + "\n")
